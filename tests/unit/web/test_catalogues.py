"""No text is left in English where Chinese is wanted, and no template holds text that can't be translated."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parent.parent.parent.parent
# The page of the API is for programmers and in English, as its names are.
TEMPLATES = sorted(path for path in (ROOT / "crm_server").rglob("*.jinja2") if "api" not in path.parts)
KEYWORDS = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2), "pluralize": (1, 2)}
METHODS = [("**.py", "python"), ("**.jinja2", "jinja2")]
OPTIONS = {"**.jinja2": {"newstyle_gettext": "true", "trim_blocks": "true", "encoding": "utf-8"}}
# Words that are the same in every language, and signs.
SAME = re.compile(r"(?:Kontor|Ctrl|OpenLDAP|Active Directory|kntr_|\bms\b|[\W\d_]|[a-zA-Z]\b)*")


def catalogue(language: str) -> Catalog:
    path = ROOT / "crm_server" / "locale" / language / "LC_MESSAGES" / "kontor.po"
    return read_po(BytesIO(path.read_bytes()), locale=language)


@pytest.fixture(scope="module")
def texts() -> set[object]:
    found: set[object] = set()
    for package in ("crm_server", "security", "compliance", "monitoring"):
        found |= {row[2] for row in extract_from_dir(ROOT / package, METHODS, OPTIONS, KEYWORDS)}
    return found


class TestCatalogues:
    def test_every_text_of_the_product_is_translated_to_chinese(self, texts: set[object]) -> None:
        known = {
            message.id[0] if isinstance(message.id, tuple | list) else message.id: message
            for message in catalogue("zh_Hans")
            if message.id
        }
        missing = []
        for text in texts:
            key = text[0] if isinstance(text, tuple) else text
            message = known.get(key)
            done = message is not None and message.string not in ("", ("",)) and not message.fuzzy
            if not done:
                missing.append(key)
        assert not missing, f"run bin/translations and translate: {sorted(map(str, missing))}"

    def test_translations_name_the_same_values_as_the_texts(self) -> None:
        places = re.compile(r"%\(\w+\)s|\$\{\w+\}|\{n\}")
        wrong = []
        for message in catalogue("zh_Hans"):
            originals = message.id if isinstance(message.id, tuple | list) else (message.id,)
            translated = message.string if isinstance(message.string, tuple | list) else (message.string,)
            wanted = {place for text in originals for place in places.findall(text)}
            wrong += [
                (message.id, text)
                for text in translated
                if text and message.id and set(places.findall(text)) != wanted
            ]
        assert not wrong

    @pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "crm_server")))
    def test_a_template_holds_no_text_that_cannot_be_translated(self, path: Path) -> None:
        source = path.read_text(encoding="utf-8")
        source = re.sub(r"\{#.*?#\}", "", source, flags=re.DOTALL)
        source = re.sub(r"<(script|style|kbd)\b.*?</\1>", "", source, flags=re.DOTALL)
        source = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", " ", source, flags=re.DOTALL)
        spoken = re.findall(r'\b(?:aria-label|title|placeholder|alt)="([^"]*)"', source)
        plain = re.sub(r"<[^>]*>|&\w+;", "\n", source, flags=re.DOTALL)
        plain = re.sub(r'^\s*id=" ".*$', "", plain, flags=re.MULTILINE)  # attributes that a macro writes
        left = [line.strip() for line in [*spoken, *plain.splitlines()] if not SAME.fullmatch(line.strip())]
        assert not left

    @pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "crm_server")))
    def test_a_template_obeys_the_content_security_policy(self, path: Path) -> None:
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"""\sstyle=["']|\son\w+=["']|hx-on|javascript:""", source)
        assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", source)


class TestIcons:
    def test_the_sprite_holds_the_icons_in_use_and_no_others(self) -> None:
        listed = (ROOT / "crm_server/web/assets/src/icons.txt").read_text(encoding="utf-8").split()
        assert listed == sorted(set(listed))
        code = "\n".join(
            path.read_text(encoding="utf-8")
            for path in (ROOT / "crm_server").rglob("*")
            if path.suffix in {".py", ".jinja2"} and "migrations" not in path.parts
        )
        unused = [name for name in listed if f'"{name}"' not in code and f"'{name}'" not in code]
        asked = set(re.findall(r"""(?:ui\.icon\(|icon=)["']([a-z0-9-]+)["']""", code))
        assert asked - set(listed) == set()
        assert unused == []
