"""ENC-2: no plaintext of a sealed field reaches the data folder, the WAL, a log, a temporary file or a core dump.

A PostgreSQL of its own gets a workload with canaries in every sealed field, with conflicts, refused constraints and
failed statements among it, an import, exports, an attachment, a saved view, searches in the search service, and a
process that is killed with a picture of its memory asked for. Then it is stopped, and everything that was written is
searched in each spelling.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from crm_server.local import postgres
from crm_server.migrations import manage
from crm_server.models import datamap

CHILD = Path(__file__).with_name("canary_child.py")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the user of the database may enter."""
    with tempfile.TemporaryDirectory(prefix="kontor-canaries-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        postgres.stop(Path(folder) / "state")


def canaries(mark: str) -> dict[str, dict[str, str]]:
    """A value for every sealed text that a client may write. All hold the mark, but for phone numbers and dates."""
    found: dict[str, dict[str, str]] = {}
    for name in ("contact", "lead", "case", "activity", "case_comment"):
        for item in datamap()[name].fields.values():
            if not item.sealed or not item.writable:
                continue
            value = {
                "email": f"canary-{mark}@example.com",
                "phone": f"+4930{secrets.randbelow(10**8):08d}",
                "date": "1980-02-29",
            }.get(item.semantic, f"Kanárie {mark} 鸟")
            if item.policy.max_length == 20:
                value = f"K-{mark}"
            found.setdefault(name, {})[item.name] = value
    names = ("custom", "filename", "file", "view", "imported", "refused", "mail")
    found["more"] = {name: f"Kanárie-{mark}-{name}-鸟" for name in names}
    found["more"]["mail"] = f"imported-{mark}@example.com"
    return found


def spellings(value: str) -> set[bytes]:
    """The forms in which a value could have been written down."""
    raw = value.encode()
    forms = {
        raw,
        value.encode("utf-16-le"),
        value.encode("utf-16-be"),
        quote(value).encode(),
        raw.hex().encode(),
    }
    for shift in range(3):
        # Inside a longer text base64 begins at any of three places; the edges depend on the neighbours.
        coded = base64.b64encode(b"\0" * shift + raw)
        forms.add(coded[4 if shift else 0 : len(coded) // 4 * 4 - 4])
    return forms


def test_no_canary_is_found_anywhere(place: Path) -> None:
    state = place / "state"
    cluster = postgres.start(state, durable=True)
    name = "kontor_canaries"
    manage.init(cluster.superuser_url, name, {role: cluster.password_of(role) for role in manage.ROLES})
    manage.upgrade(cluster.url_for(manage.OWNER, name))
    mark = secrets.token_hex(8)
    words, temporary, log = canaries(mark), place / "tmp", place / "application.log"
    temporary.mkdir()
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, str(CHILD), json.dumps(words)],
            env=os.environ
            | {
                "PYTHONPATH": str(CHILD.parents[3]),
                "KONTOR_DATABASE_URL": cluster.url_for(manage.APP, name),
                "KONTOR_OWNER_DATABASE_URL": cluster.url_for(manage.OWNER, name),
                "KONTOR_STATE_DIR": str(place / "kontor"),
                "KONTOR_KEY_RING": str(place / "ring"),
                "KONTOR_LOG_LEVEL": "debug",
                "TMPDIR": str(temporary),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, log.read_text()[-2000:]
    postgres.stop(state)

    phones = [value for fields in words.values() for value in fields.values() if value.startswith("+49")]
    wanted = {form for value in (mark, *phones) for form in spellings(value)}
    assert len(words["contact"]) >= 12
    files = [path for path in place.rglob("*") if path.is_file()]
    assert any("pg_wal" in path.parts for path in files)
    found = []
    for path in files:
        content = path.read_bytes()
        places = [content.find(form) for form in wanted]
        found += [(path.name, content[max(0, at - 60) : at + 60]) for at in places if at >= 0]
    assert found == []


def test_a_canary_that_is_there_would_be_found() -> None:
    """The search itself: each spelling of a value in a file is seen."""
    mark = "0123456789abcdef"
    text = f"Kanárie {mark} 鸟"
    written = [text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be"), quote(text).encode()]
    written += [base64.b64encode(b"x" * shift + text.encode() + b"yyy") for shift in range(3)]
    written += [text.encode().hex().encode(), text.casefold().encode()]
    for content in written:
        assert any(form in content for form in spellings(mark)), content
