"""How texts are compared: without regard to case and, for finding and sorting, to accents; Chinese also by pinyin.

Three forms of a text, each derived from the one before:

* `fold`: NFKC and case folding (Unicode §3.13). Filters compare in this form.
* `plain`: without accents and with single spaces. Finding compares in this form, and trigrams are cut from it.
* `sort_key`: the order of lists. Latin before Chinese, which goes by pinyin and not by code point, because a reader
  looks for 张 under zh. Accents count only between words that are the same without them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_SPACE = re.compile(r"\s+")
_HAN_RUN = re.compile(f"{_HAN.pattern}+")
# Latin letters, and the characters of common Chinese, which have one way of writing.
_LETTERWISE = re.compile("[\0-\x7f\xc0-\u017f\u3400-\u4dbf\u4e00-\u9fff]+")
# Of these the ones of which folding makes small letters and nothing else.
_SIMPLE = re.compile(
    "[\0-\x7f\xc0-\xde\xe0-\u012f\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e\u3400-\u4dbf\u4e00-\u9fff]*"
)
# Of these small letters the ones that `SMALL` makes of their large ones too.
_PAIRED = re.compile("[\0-\x7f\xe0-\xfe\u3400-\u4dbf\u4e00-\u9fff]*")
SMALL = bytes.maketrans(
    bytes((*range(0x41, 0x5B), *range(0x80, 0x9F))), bytes((*range(0x61, 0x7B), *range(0xA0, 0xBF)))
)
"""Makes the same of large and small letters in UTF-8 up to U+00FE, and of a few others, which does no harm: what it is
asked for is judged by its letters afterwards."""
_ACCENTED = re.compile("[\xc0-\u017f]")
_KEY_BYTES = 120
_BEFORE_HAN = "\ue000"

# Characters that are read otherwise as a surname (GB/T 28039-2011, appendix).
_SURNAMES = {
    "单": "shan", "曾": "zeng", "解": "xie", "仇": "qiu", "查": "zha", "任": "ren", "区": "ou", "盖": "ge",
    "朴": "piao", "翟": "zhai", "乐": "yue", "覃": "qin", "缪": "miao", "冼": "xian", "宁": "ning", "尉": "yu",
    "折": "she", "黑": "he", "秘": "bi", "重": "chong", "种": "chong", "牟": "mu", "哈": "ha", "逄": "pang",
}  # fmt: skip


def fold(text: str) -> str:
    """The text without regard to case and to compatible ways of writing a character."""
    return text.lower() if text.isascii() or is_simple(text) else _fold(text)


def is_simple(text: str) -> bool:
    """Whether folding makes small letters of a text and nothing else, as far as its characters tell."""
    return _SIMPLE.fullmatch(text) is not None


def small(text: str) -> bytes | None:
    """Bytes that stand, by `SMALL`, in every simple text in whose folded form a folded text stands; None if unknown."""
    return text.encode().translate(SMALL) if _PAIRED.fullmatch(text) is not None else None


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def plain(text: str) -> str:
    """The folded text without accents, each run of white space as one space."""
    if text.isascii():
        return " ".join(text.lower().split())
    if _LETTERWISE.fullmatch(text) is not None:
        # A letter at a time gives the same here, at a third of the cost.
        return " ".join(_ACCENTED.sub(_bare, text).lower().split())
    return _plain(text)


def tidied(texts: list[str]) -> list[str]:
    """Texts with each run of white space as one space; the same list where nothing is changed by that."""
    whole = "\n".join(texts)
    # Text that was split at white space and joined again has single spaces alone; the ends of line became some.
    if whole.count("\n") < len(texts) and " ".join(whole.split()) == whole.replace("\n", " "):
        return texts
    return [" ".join(text.split()) for text in texts]


def plain_all(texts: Sequence[str]) -> list[str]:
    """`plain` of many tidied texts: at once where their letters are folded one by one, else of each half of them."""
    if len(texts) < 2:
        return [plain(text) for text in texts]
    whole = "\n".join(texts)
    if whole.isascii():
        return whole.lower().split("\n")
    if _LETTERWISE.fullmatch(whole) is not None:
        return _ACCENTED.sub(_bare, whole).lower().split("\n")
    half = len(texts) // 2
    return plain_all(texts[:half]) + plain_all(texts[half:])


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", fold(text))
    bare = "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    return _SPACE.sub(" ", unicodedata.normalize("NFC", bare)).strip()


@cache
def _letters() -> dict[str, str]:
    """What is left of each Latin letter with an accent."""
    return {chr(code): _plain(chr(code)) for code in range(0xC0, 0x180)}


def _bare(found: re.Match[str]) -> str:
    return _letters()[found[0]]


def has_han(text: str) -> bool:
    """Whether the text holds a Chinese character."""
    return not text.isascii() and _HAN.search(text) is not None


@lru_cache(maxsize=30_000)
def reading(character: str) -> str:
    """The pinyin of one character without tone, or the character itself."""
    # The readings take memory that only the service needs; pages fold texts as well. The dictionary of phrases takes
    # 50 MB more and serves running text, where names are read letter by letter.
    os.environ.setdefault("PYPINYIN_NO_PHRASES", "true")
    os.environ.setdefault("PYPINYIN_NO_DICT_COPY", "true")
    from pypinyin import Style, lazy_pinyin

    found = lazy_pinyin(character, style=Style.NORMAL)[0]
    return str(found).replace("ü", "v")


def romanised(text: str) -> tuple[str, ...]:
    """How a Chinese text may be typed in Latin letters: whole ("zhangwei") and by initials ("zw").

    The first character of a name is also read as a surname (曾: zeng, not ceng).
    """
    if not has_han(text):
        return ()
    found: dict[str, None] = {}
    for run in _HAN_RUN.findall(text):
        first, *others = map(reading, run)
        rest, initials = "".join(others), "".join([word[0] for word in others])
        for begin in dict.fromkeys((_SURNAMES.get(run[0], first), first)):
            found[begin + rest] = None
            found[begin[0] + initials] = None
    return tuple(found)


def forms(text: str) -> tuple[str, ...]:
    """All forms under which a text is found: plain, and romanised if it is Chinese."""
    bare = plain(text)
    return (bare, *romanised(bare))


def grams(text: str) -> list[str]:
    """The trigrams of a text or of a part of one; none when it is shorter than three letters."""
    return [text[place : place + 3] for place in range(len(text) - 2)]


def large(text: str) -> str:
    """The same with large Latin letters: how titles are written where trigrams are cut, unlike other fields."""
    # Bytes have no large letters but those of ASCII.
    return text.encode("utf-8", "surrogatepass").upper().decode("utf-8", "surrogatepass")


def beginning(text: str) -> bytes:
    """What the places of all texts begin with that begin with this one, without regard to case and accents."""
    return sort_key(plain(text))


def sort_key(text: str) -> bytes:
    """The place of a text in a list, to be compared byte by byte."""
    if text.isascii():
        return " ".join(text.lower().split()).encode()[:_KEY_BYTES]
    bare, folded = plain(text), fold(text)
    if has_han(bare):
        letters = "".join(
            f"{_BEFORE_HAN}{reading(sign)} {sign}" if _HAN.match(sign) else sign for sign in bare
        )
    else:
        letters = bare
    # Accents decide between what is otherwise the same.
    key = letters if folded == bare else f"{letters}\0{folded}"
    return key.encode("utf-8", "replace")[:_KEY_BYTES]
