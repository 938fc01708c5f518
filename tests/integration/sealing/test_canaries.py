"""ENC-2: no plaintext of a sealed field reaches the data folder, the WAL, a log or a temporary file.

A PostgreSQL of its own gets a workload with canaries in every sealed field, with conflicts, refused constraints and
failed statements among it; then it is stopped, and everything that was written is searched in each spelling.
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

WORK = """
import json, os, sys
from sqlalchemy import text
from webtest import TestApp
from crm_server.app import main
from crm_server.kernel.actor import system_actor
from crm_server.settings import load

canaries = json.loads(sys.argv[1])
app = main(load())
environ = {"HTTP_HOST": "localhost", "wsgi.url_scheme": "https", "kontor.identity": system_actor()}
api = TestApp(app, extra_environ=environ)
token = {}

def call(method, path, body=None, **headers):
    token["Authorization"] = "Bearer none"
    return api._gen_request(
        method, "/api/v1" + path, params=b"" if body is None else json.dumps(body).encode(),
        content_type="application/json", headers=token | headers, expect_errors=True,
    )

made = {}
for entity, collection, more in (
    ("contact", "contacts", {"country": "DE", "external_id": "twice"}),
    ("lead", "leads", {}),
    ("case", "cases", {}),
    ("activity", "activities", {"kind": "call"}),
):
    body = dict(canaries[entity]) | more
    if entity in ("case", "activity"):
        body["contact_id"] = made["contact"]
    answer = call("POST", "/" + collection, body)
    assert answer.status_int == 201, (entity, answer.json.get("errors"))
    made[entity] = answer.json["id"]
    # Bad input of every kind: a taken external id, a broken reference, a wrong type, a lost update.
    call("POST", "/" + collection, body | {"owner_id": "0190a7c2-7b1e-7c3a-9d52-3f6a1c2b4d5e"})
    call("POST", "/" + collection, body | {"external_id": "twice"})
    call("PATCH", f"/{collection}/{made[entity]}", canaries[entity], If_Match='"9"')
    call("GET", f"/{collection}/{made[entity]}")
    call("GET", f"/{collection}?limit=50")
call("POST", f"/cases/{made['case']}/comments", {"body": canaries["case_comment"]["body"]})
# Statements of somebody else that constraints refuse; the server would quote the row if it were not told to be terse.
canary = canaries["contact"]["family_name"]
for statement in (
    "insert into crm.contact (id, country) values (gen_random_uuid(), :canary)",
    "update crm.contact set sealed_identity = convert_to(:canary, 'UTF8')",
):
    with app.registry.engine.connect() as connection:
        try:
            connection.execute(text("select set_config('kontor.rows', '*', true)"))
            connection.execute(text(statement), {"canary": canary})
            connection.commit()
        except Exception as error:
            print("refused", type(error).__name__)
print(json.dumps(made))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the user of the database may enter."""
    with tempfile.TemporaryDirectory(prefix="kontor-canaries-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        postgres.stop(Path(folder) / "state")


def canaries() -> dict[str, dict[str, str]]:
    """A value for every sealed text that a client may write, with letters that each spelling shows differently."""
    found: dict[str, dict[str, str]] = {}
    for name in ("contact", "lead", "case", "activity", "case_comment"):
        for item in datamap()[name].fields.values():
            if not item.sealed or not item.writable:
                continue
            word = secrets.token_hex(8)
            value = {
                "email": f"canary-{word}@example.com",
                "phone": f"+4930{secrets.randbelow(10**8):08d}",
                "date": "1980-02-29",
            }.get(item.semantic, f"Kanárie {word} 鸟")
            if item.policy.max_length == 20:
                value = f"K-{word}"
            found.setdefault(name, {})[item.name] = value
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
    words, temporary, log = canaries(), place / "tmp", place / "application.log"
    temporary.mkdir()
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-c", WORK, json.dumps(words)],
            env=os.environ
            | {
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

    wanted = {
        form: f"{entity}.{field}"
        for entity, fields in words.items()
        for field, value in fields.items()
        if field != "birth_date"
        for form in spellings(value)
    }
    assert len(words["contact"]) >= 12
    files = [path for path in place.rglob("*") if path.is_file()]
    assert any("pg_wal" in path.parts for path in files)
    found = set()
    for path in files:
        content = path.read_bytes()
        found |= {(path.name, wanted[form]) for form in wanted if form in content}
    assert found == set()


def test_a_canary_that_is_there_would_be_found() -> None:
    """The search itself: each spelling of a value in a file is seen."""
    value = "Kanárie 0123456789abcdef 鸟"
    for form in spellings(value):
        assert form in b"before" + form + b"after"
    assert (
        base64.b64encode(b"xx" + value.encode() + b"yyy").find(
            base64.b64encode(b"\0\0" + value.encode())[4:-4]
        )
        > 0
    )
