"""Formats of the sinks: any Unicode survives other people's parsers, and OCSF validates. # SIEM-3, SIEM-4,
SIEM-5
"""

from __future__ import annotations

import json
import re
import warnings
from functools import cache
from typing import Any

import jsonschema_rs
import pycef
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from compliance.audit.log.leaf import encode, encode_or_substitute
from compliance.audit.siem.catalog import sample, types
from compliance.audit.siem.event import AuditEvent, Policy, short, visible
from compliance.audit.siem.formats import FORMATS, Sender, cef, ecs, leef, ocsf, render

from .helpers import event as raw_event
from .siem_events import NASTY, any_event, everything, siem_event

with warnings.catch_warnings():
    # Its grammar library still imports a module that Python renamed.
    warnings.simplefilter("ignore", DeprecationWarning)
    from syslog_rfc5424_parser import SyslogMessage

SENDER = Sender("crm1.example", "1.2.3")


@cache
def ocsf_validator(uid: int) -> jsonschema_rs.Validator:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
    name = schema.lookup_class_name_from_uid(class_uid=uid)
    return jsonschema_rs.validator_for(schema.get_class_schema(class_name=name, profiles=[]))


class TestStructuredData:
    @given(any_event())
    def test_another_parser_reads_the_same_keys_and_values(self, event: AuditEvent) -> None:
        # That parser takes the escaped backslash at the end of a value for an escaped quote; rsyslog, in the
        # integration tests, does not.
        assume(not any(value.endswith("\\") for value in event.flat().values()))
        line = render("rfc5424", event, SENDER)
        parsed = SyslogMessage.parse(line)
        assert parsed.hostname == "crm1.example"
        element = parsed.sd["kontor@32473"]
        unescaped = {key: re.sub(r'\\(["\\\]])', r"\1", value) for key, value in element.items()}
        assert unescaped == {key: visible(value) for key, value in event.flat().items()}

    @given(any_event())
    def test_no_byte_that_a_receiver_acts_on_is_ever_sent(self, event: AuditEvent) -> None:
        for name in FORMATS:
            line = render(name, event, SENDER)
            assert not re.search(
                "[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]", line
            ), name
            assert name == "leef" or "\t" not in line

    def test_the_priority_is_log_audit_with_the_severity_of_the_event(self) -> None:
        assert render("rfc5424", siem_event(), SENDER).startswith(
            "<110>1 2026-11-21T08:15:30.123456Z crm1.example kontor - change [kontor@32473 "
        )
        assert render("rfc5424", siem_event(severity=5), SENDER).startswith("<106>1 ")


class TestJson:
    @given(any_event())
    def test_json_is_exact(self, event: AuditEvent) -> None:
        line = render("rfc5424+json", event, SENDER)
        parsed = SyslogMessage.parse(line)
        assert json.loads(parsed.msg) == event.flat()
        assert json.loads(event.flat()["meta"]) == event.meta if event.meta else True

    @given(any_event())
    def test_ecs_is_exact_and_uses_the_standard_fields(self, event: AuditEvent) -> None:
        document = json.loads(render("ecs", event, SENDER))
        assert document["event"]["action"] == event.action
        assert document["kontor"]["subjects"] == list(event.subject_ref)
        assert document["kontor"]["meta"] == event.meta
        assert document["event"]["sequence"] == 41
        assert document["event"]["outcome"] in ("success", "failure", "unknown")


def parse_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """ArcSight's rules, read character by character: for what other people's parsers do not unescape."""
    parts, current, position = [], "", 0
    while len(parts) < 7:
        character = line[position]
        if character == "\\":
            current, position = current + line[position + 1], position + 2
            continue
        if character == "|":
            parts.append(current)
            current = ""
        else:
            current += character
        position += 1
    values, text = {}, line[position:]
    keys = list(re.finditer(r"(?:^| )(\w+)=", text))
    keys = [match for match in keys if not re.search(r"(?<!\\)(\\\\)*\\=$", match[0])]
    for match, following in zip(keys, [*keys[1:], None], strict=True):
        raw = text[match.end() : following.start() if following else None]
        values[match[1]] = re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), raw)
    return parts, values


class TestCef:
    @given(any_event())
    def test_header_and_extension_come_back_unescaped(self, event: AuditEvent) -> None:
        line = cef.render(event, "1.2.3")
        head, values = parse_cef(line)
        expected = "".join(part if part in "\r\n" else visible(part) for part in event.action)
        assert head[:4] == ["CEF:0", "Kontor", "Kontor", "1.2.3"]
        assert values["act"] == expected
        assert {"rt", "cn1", "cn1Label", "cs1", "cs1Label", "externalId", "outcome", "cat", "suid"} <= set(
            values
        )
        assert values["cn1"] == "41"
        assert values["cs1"] == "ab" * 32

    @given(NASTY)
    def test_a_value_can_never_begin_another_key(self, text: str) -> None:
        quiet = set(parse_cef(cef.render(siem_event(purpose="x"), "1"))[1])
        assert set(parse_cef(cef.render(siem_event(purpose=text + " suid=root act=none"), "1"))[1]) == quiet

    def test_other_peoples_parser_reads_every_kind(self) -> None:
        for event in everything():
            parsed = pycef.parse(cef.render(event, "1.2.3"))
            assert parsed is not None
            assert parsed["DeviceEventClassID"] == f"{event.event_class}:{event.action}"
            assert parsed["logIndex"] == "41"
            assert parsed["leafHash"] == "ab" * 32

    def test_escapes_of_the_specification(self) -> None:
        assert cef.escape_header("a|b\\c\nd") == "a\\|b\\\\c d"
        assert cef.escape_value("a=b|c\\d\ne\rf") == "a\\=b|c\\\\d\\ne\\rf"


class TestLeef:
    @given(any_event())
    def test_splitting_at_tabs_gives_the_same_keys(self, event: AuditEvent) -> None:
        line = leef.render(event, "1.2.3")
        head, attributes = line.split("|", 6)[:6], line.split("|", 6)[6]
        assert head[0] == "LEEF:2.0"
        assert head[5] == "x09" or line.split("|")[5] == "x09"
        values = dict(item.split("=", 1) for item in attributes.split("\t"))
        assert values["leafHash"] == "ab" * 32
        assert values["index"] == "41"
        assert values["action"] == visible(re.sub(r"[\t\r\n]+", " ", event.action))
        quiet = leef.render(siem_event(meta=event.meta, subject_ref=event.subject_ref, reason="x"), "1.2.3")
        assert {*values} == {item.split("=", 1)[0] for item in quiet.split("|", 6)[6].split("\t")}


class TestOcsf:
    @pytest.mark.parametrize(
        "event", everything(), ids=lambda e: f"{e.event_class}-{e.action}-{e.outcome}-{e.origin}"
    )
    def test_every_kind_of_event_validates(self, event: AuditEvent) -> None:
        document: Any = json.loads(render("ocsf", event, SENDER))
        errors = [
            f"{error.instance_path}: {error.message}"
            for error in ocsf_validator(document["class_uid"]).iter_errors(document)
        ]
        assert errors == []
        assert document["type_uid"] == document["class_uid"] * 100 + document["activity_id"]

    def test_every_type_that_the_product_writes_validates(self) -> None:
        for kind in types():
            document: Any = json.loads(render("ocsf", sample(*kind), SENDER))
            assert ocsf_validator(document["class_uid"]).is_valid(document), kind

    @given(any_event())
    def test_any_text_validates(self, event: AuditEvent) -> None:
        document: Any = json.loads(render("ocsf", event, SENDER))
        assert ocsf_validator(document["class_uid"]).is_valid(document)

    def test_all_nine_classes_of_the_requirement_are_reached(self) -> None:
        assert {ocsf.ocsf_class(event)[0] for event in everything()} == {
            3002, 3001, 3004, 3005, 6003, 6005, 6002, 2003, 2004,
        }  # fmt: skip

    def test_an_unknown_version_is_refused(self) -> None:
        with pytest.raises(KeyError):
            ocsf.document(siem_event(), "1", "9.9.9")


class TestCountedRefusals:
    """What was refused so often that it was counted says so where a format has a place for it. # AUD-10"""

    EVENT = siem_event(
        event_class="authorization",
        action="deny",
        outcome="denied",
        reason="crm:account:create",
        meta={
            "route": "api.records",
            "method": "POST",
            "count": 40,
            "since": "2026-11-21T08:15:00+00:00",
            "until": "2026-11-21T08:15:30+00:00",
        },
    )

    def test_ocsf(self) -> None:
        document = ocsf.document(self.EVENT, "1")
        assert ocsf_validator(int(str(document["class_uid"]))).is_valid(document)
        assert document["count"] == 40
        assert int(str(document["end_time"])) - int(str(document["start_time"])) == 30_000
        assert "count" not in ocsf.document(siem_event(meta={"count": 3}), "1")

    def test_cef(self) -> None:
        assert " cnt=40 " in cef.render(self.EVENT, "1")
        assert "cnt=" not in cef.render(siem_event(meta={"count": 3}), "1")


class TestShortening:
    @pytest.mark.parametrize("name", sorted(FORMATS))
    @given(filler=NASTY, count=st.integers(1, 9000))
    def test_long_events_become_short_whole_ones(self, name: str, filler: str, count: int) -> None:
        text = (filler * count)[:60_000]
        event = siem_event(
            meta={"x": text}, reason=text[:20_000], subject_ref=("s" * 36,) * 1000, purpose=text[:9_000]
        )
        line = render(name, event, SENDER, limit=8192)
        assert len(line.encode()) <= 8192
        if name in ("ocsf", "ecs"):
            assert json.loads(line)
        else:
            assert "runcated" in line
        if name == "rfc5424" and "truncated" in line:
            assert line.endswith('truncated="true"]')

    def test_a_sink_that_takes_nearly_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="4,096"):
            render("cef", siem_event(), SENDER, limit=500)

    def test_no_character_is_cut_from_its_accents(self) -> None:
        assert short("abc") == "abc"
        assert short("e" * 60) == "e" * 48 + "…"
        assert short("e" * 47 + "o\u0301" * 9) == "e" * 47 + "…"


class TestPolicy:
    def test_minimal_tells_no_references(self) -> None:
        text = json.dumps(ecs.document(siem_event().under(Policy.MINIMAL), "1"))
        for secret in ("964f0", "964f1", "964f2", "964f9", "fields"):
            assert secret not in text
        assert "964ff" in text

    def test_only_full_carries_names_and_pseudonym_is_the_log_itself(self) -> None:
        names = {siem_event().actor_ref: "Ada"}
        assert siem_event().under(Policy.FULL, names.get).actor_name == "Ada"
        assert siem_event(actor_name="Ada").under(Policy.PSEUDONYM).actor_name is None
        assert siem_event().under(Policy.PSEUDONYM) == siem_event()


class TestFromLeaf:
    def test_the_event_is_the_leaf_with_its_place(self) -> None:
        leaf = encode(raw_event())
        event = AuditEvent.from_leaf("kontor.example/audit", 7, leaf)
        assert event.flat()["index"] == "7"
        assert event.object_type == "3"
        assert len(event.leaf_hash) == 64

    def test_a_stand_in_is_delivered_as_a_critical_event(self) -> None:
        leaf, _ = encode_or_substitute(raw_event(meta={"x": 0.5}))
        event = AuditEvent.from_leaf("kontor.example/audit", 7, leaf)
        assert (event.action, event.severity) == ("unsealable_event", 5)
        for name in FORMATS:
            assert "unsealable_event" in render(name, event, SENDER)
