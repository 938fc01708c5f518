"""What audit administrators set: where events are sent, how long they are kept, alarms, saved searches."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel.clock import now
from crm_server.kernel.handling import BUSINESS, SECRET, SYSTEM, TECHNICAL
from crm_server.kernel.model import Audited

SCHEMA = "audit"

TRANSPORTS = {
    "tls": _("Syslog over TLS"),
    "https": _("HTTPS, lines of JSON"),
    "hec": _("Splunk HTTP Event Collector"),
    "file": _("File"),
    "tcp": _("Syslog over TCP, not encrypted"),
    "udp": _("Syslog over UDP, loses events"),
}
FORMATS = {
    "rfc5424": _("Syslog with structured data (RFC 5424)"),
    "rfc5424+json": _("Syslog with JSON"),
    "cef": _("CEF (ArcSight)"),
    "leef": _("LEEF 2.0 (QRadar)"),
    "ocsf": _("OCSF 1.8"),
    "ecs": _("Elastic Common Schema"),
}
POLICIES = {
    "pseudonym": _("Pseudonyms: random keys instead of names"),
    "minimal": _("Minimal: what happened, without records, persons or sessions"),
    "full": _("Full: with the names of those who acted"),
}


class Sink(Audited, Base):
    """A receiver of audit events. Its client key and token are sealed; they are set and never shown."""

    __tablename__ = "sink"
    __entity__ = EntityPolicy(
        65, "audit_sink", "audit-sinks", _("SIEM sink"), _("SIEM sinks"), EntityKind.TECHNICAL, icon="upload"
    )
    __table_args__ = ({"schema": SCHEMA},)

    name: Mapped[str] = field(
        20, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=100, unique=True
    )
    enabled: Mapped[bool] = field(
        21,
        Semantic.BOOLEAN,
        _("Enabled"),
        BUSINESS,
        required=True,
        default=False,
        server_default=text("false"),
    )
    transport: Mapped[str] = field(
        22, Semantic.CHOICE, _("Transport"), BUSINESS, required=True, choices=TRANSPORTS
    )
    # host:port for syslog, an https:// address, or a path of a file on the forwarder's machine.
    address: Mapped[str] = field(23, Semantic.TEXT, _("Address"), BUSINESS, required=True, max_length=1000)
    server_name: Mapped[str | None] = field(
        24, Semantic.TEXT, _("Name in the sink's certificate"), BUSINESS, max_length=253
    )
    format: Mapped[str] = field(25, Semantic.CHOICE, _("Format"), BUSINESS, required=True, choices=FORMATS)
    policy: Mapped[str] = field(
        26,
        Semantic.CHOICE,
        _("What it is told"),
        BUSINESS,
        required=True,
        choices=POLICIES,
        default="pseudonym",
        server_default=text("'pseudonym'"),
    )
    message_limit: Mapped[int] = field(
        27,
        Semantic.INTEGER,
        _("Longest message, bytes"),
        BUSINESS,
        required=True,
        minimum=4096,
        maximum=1_000_000,
        default=8192,
        server_default=text("8192"),
    )
    enterprise: Mapped[int] = field(
        28,
        Semantic.INTEGER,
        _("Private enterprise number"),
        BUSINESS,
        required=True,
        minimum=1,
        default=32473,
        server_default=text("32473"),
    )
    authorities: Mapped[str | None] = field(
        29, Semantic.LONG_TEXT, _("Certificate authority of the sink (PEM)"), BUSINESS
    )
    certificate: Mapped[str | None] = field(
        30, Semantic.LONG_TEXT, _("Our certificate with its chain (PEM)"), BUSINESS
    )
    secrets: Mapped[bytes | None] = field(31, Semantic.BYTES, _("Private key and token"), SECRET)
    # The first event that it gets; the cursor is in `SinkState`.
    first_index: Mapped[int] = field(
        32,
        Semantic.INTEGER,
        _("First event"),
        TECHNICAL,
        required=True,
        managed=True,
        sql=BigInteger(),
        default=0,
        server_default=text("0"),
    )
    # Changes when delivery begins anew at `first_index`, so that a delivery that is just ending keeps its cursor to
    # itself.
    begun_at: Mapped[datetime] = field(
        33, Semantic.DATETIME, _("Begun"), TECHNICAL, required=True, managed=True, default=now
    )


class SinkState(Base):
    """How far delivery to a sink is. Written by the forwarder after each batch, so it is no record with a history."""

    __tablename__ = "sink_state"
    __entity__ = EntityPolicy(
        66,
        "audit_sink_state",
        "audit-sink-states",
        _("State of a sink"),
        _("States of sinks"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (CheckConstraint("position >= 0", name="position_positive"), {"schema": SCHEMA})

    sink_id: Mapped[UUID] = field(
        1,
        Semantic.REFERENCE,
        _("SIEM sink"),
        SYSTEM,
        primary_key=True,
        target="audit_sink",
        references="audit.sink.id",
        ondelete="CASCADE",
    )
    position: Mapped[int] = field(
        2, Semantic.INTEGER, _("Delivered up to"), TECHNICAL, required=True, sql=BigInteger()
    )
    sent: Mapped[int] = field(
        3, Semantic.INTEGER, _("Sent up to"), TECHNICAL, required=True, sql=BigInteger()
    )
    size: Mapped[int] = field(
        4, Semantic.INTEGER, _("Size of the log"), TECHNICAL, required=True, sql=BigInteger()
    )
    error: Mapped[str | None] = field(5, Semantic.TEXT, _("Error"), TECHNICAL, max_length=500)
    failing_since: Mapped[datetime | None] = field(6, Semantic.DATETIME, _("Fails since"), TECHNICAL)
    peer: Mapped[str | None] = field(7, Semantic.TEXT, _("Peer"), TECHNICAL, max_length=1000)
    certificate_until: Mapped[datetime | None] = field(
        8, Semantic.DATETIME, _("Certificate of the sink valid until"), TECHNICAL
    )
    updated_at: Mapped[datetime] = field(
        9, Semantic.DATETIME, _("Changed"), TECHNICAL, required=True, server_default=text("now()")
    )
    log: Mapped[str | None] = field(10, Semantic.TEXT, _("Name of the log"), TECHNICAL)
    cause: Mapped[str | None] = field(11, Semantic.TEXT, _("Kind of error"), TECHNICAL, max_length=30)


class RetentionRule(Audited, Base):
    """How long events of a class are kept before only their hashes remain. Never below six months (AUD-11)."""

    __tablename__ = "retention"
    __entity__ = EntityPolicy(
        67,
        "audit_retention",
        "audit-retention",
        _("Retention of audit events"),
        _("Retention of audit events"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (CheckConstraint("months >= 6", name="months_least"), {"schema": SCHEMA})

    event_class: Mapped[str] = field(
        20, Semantic.TEXT, _("Class"), BUSINESS, required=True, max_length=40, unique=True
    )
    months: Mapped[int] = field(
        21, Semantic.INTEGER, _("Months"), BUSINESS, required=True, minimum=6, maximum=1200
    )


class AlertRule(Audited, Base):
    """A rule over the log that raises an alarm, as an administrator set it; others have the product's values."""

    __tablename__ = "alert_rule"
    __entity__ = EntityPolicy(
        68, "audit_alert_rule", "audit-alert-rules", _("Alert rule"), _("Alert rules"), EntityKind.TECHNICAL
    )
    __table_args__ = ({"schema": SCHEMA},)

    code: Mapped[str] = field(
        20, Semantic.TEXT, _("Rule"), BUSINESS, required=True, max_length=40, unique=True
    )
    enabled: Mapped[bool] = field(
        21, Semantic.BOOLEAN, _("Enabled"), BUSINESS, required=True, default=True, server_default=text("true")
    )
    threshold: Mapped[int] = field(22, Semantic.INTEGER, _("Threshold"), BUSINESS, required=True, minimum=1)
    minutes: Mapped[int] = field(
        23, Semantic.INTEGER, _("Minutes"), BUSINESS, required=True, minimum=1, maximum=1440
    )
    # Hours of work as [first, last] for the rule about hours; keys of records for the rule about honey records.
    values: Mapped[dict[str, Any]] = field(
        24,
        Semantic.JSON,
        _("Values"),
        BUSINESS,
        required=True,
        default=dict,
        server_default=text("'{}'::jsonb"),
    )


class SavedSearch(Audited, Base):
    """A search of the log that somebody comes back to. It is its maker's own."""

    __tablename__ = "saved_search"
    __entity__ = EntityPolicy(
        69,
        "audit_saved_search",
        "audit-saved-searches",
        _("Saved search"),
        _("Saved searches"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (
        Index("uq_saved_search", "user_id", "name", unique=True),
        {"schema": SCHEMA},
    )

    user_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Person"),
        SYSTEM,
        required=True,
        target="user",
        references="identity.user.id",
        ondelete="CASCADE",
    )
    name: Mapped[str] = field(21, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=100)
    filters: Mapped[dict[str, Any]] = field(22, Semantic.JSON, _("Filter"), BUSINESS, required=True)
