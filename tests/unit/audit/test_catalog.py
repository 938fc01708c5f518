"""The content pack: every event type has a schema, a sample in each format, and the pack is whole. #
SIEM-5, SIEM-7
"""

from __future__ import annotations

import ast
import csv
import json
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from compliance.audit.siem.catalog import (
    EVENT_TYPES,
    FIELDS,
    reconciliation_meta,
    sample,
    schema,
    types,
    write_pack,
)
from compliance.audit.siem.event import Policy
from compliance.audit.siem.formats import FORMATS, ocsf
from compliance.audit.siem.transport import Refusal
from crm_server.domain.audit.queries import CLASSES as QUERIED
from crm_server.domain.audit.words import ACTIONS, CAUSES, CLASSES
from security.network import Cause

from .siem_events import everything

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", list(types()), ids="-".join)
def test_the_sample_of_every_type_fits_its_schema_and_no_other(kind: tuple[str, str]) -> None:
    jsonschema_rs.meta.validate(schema(*kind))
    validator = jsonschema_rs.validator_for(schema(*kind))
    for policy in Policy:
        assert validator.is_valid(sample(*kind).under(policy, lambda _ref: "Ada").flat())
    assert not validator.is_valid(sample("change", "x").flat())
    assert not validator.is_valid(sample(*kind).flat() | {"surplus": "1"})


def test_every_field_that_is_sent_is_in_the_dictionary() -> None:
    sent = {
        key
        for event in everything()
        for key in event.shortened(1).under(Policy.FULL, lambda _ref: "A").flat()
    }
    assert sent <= set(FIELDS)
    assert set(FIELDS) - sent <= {"meta"}


def test_every_action_has_a_word_and_every_word_an_action() -> None:
    known = {action for actions in EVENT_TYPES.values() for action in actions}
    assert set(ACTIONS) == known
    assert set(CLASSES) == set(EVENT_TYPES)
    assert set(CAUSES) == {*Cause, *Refusal}
    assert set(QUERIED) == set(EVENT_TYPES)


def test_every_event_that_the_source_names_is_in_the_catalogue() -> None:
    """By reading the source: what no test happens to write is found as well. The rest is held by `events_are_known`."""
    found = [
        (path, node.lineno, *(part.value for part in node.args[:2]))  # type: ignore[attr-defined]
        for folder in ("crm_server", "compliance")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Event"
        and len(node.args) > 1
        and all(isinstance(part, ast.Constant) for part in node.args[:2])
    ]
    assert len(found) > 20
    strangers = [one for one in found if one[3] not in EVENT_TYPES.get(one[2], ())]
    assert not strangers, "add them to compliance/audit/vocabulary.py"


def test_every_type_has_an_ocsf_class_of_its_own_meaning() -> None:
    classes = {kind: ocsf.ocsf_class(sample(*kind))[0] for kind in types()}
    assert classes["configuration", "user_disabled"] == 3001
    assert classes["configuration", "role_given"] == 3005
    assert classes["configuration", "keys_erased"] == 2003
    assert classes["detection", "alert_honey"] == 2004
    assert set(classes.values()) == {3001, 3002, 3004, 3005, 6002, 6003, 6005, 2003, 2004}


def test_an_unknown_type_has_no_schema() -> None:
    with pytest.raises(KeyError):
        schema("change", "never")


def test_the_pack_is_complete(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack", "1.0")
    count = sum(map(len, EVENT_TYPES.values()))
    assert len(list((tmp_path / "pack/schemas").iterdir())) == count
    for name in FORMATS:
        assert len((tmp_path / "pack/samples" / f"{name}.txt").read_text().splitlines()) == count
    rows = list(csv.DictReader((tmp_path / "pack/fields.csv").read_text().splitlines()))
    assert [row["field"] for row in rows] == list(FIELDS)
    for rule in (tmp_path / "pack/sigma").iterdir():
        loaded = yaml.safe_load(rule.read_text())
        assert {"title", "id", "logsource", "detection", "level"} <= set(loaded)
        searched = {key for name, part in loaded["detection"].items() if name != "condition" for key in part}
        assert searched <= set(FIELDS)
    assert "index" in (tmp_path / "pack/queries.txt").read_text()


def test_reconciliation_states_log_first_last_count_and_root() -> None:
    meta = reconciliation_meta("o", 10, 19, b"r" * 32)
    assert meta == {
        "log": "o", "first_index": 10, "last_index": 19, "count": 10, "tree_size": 20, "root": "72" * 32,
    }  # fmt: skip
    assert json.dumps(meta)
