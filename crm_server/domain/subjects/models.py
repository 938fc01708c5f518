"""The data subject. It holds nothing about the person itself: it is what keys, requests and consents hang on."""

from __future__ import annotations

from compliance.datamap import Base, EntityKind, EntityPolicy
from compliance.datamap.text import _
from crm_server.kernel.model import Audited


class DataSubject(Audited, Base):
    """A natural person known to the system (GDPR Art. 4(1))."""

    __tablename__ = "data_subject"
    __table_args__ = ({"schema": "crm"},)
    __entity__ = EntityPolicy(
        24,
        "data_subject",
        "data-subjects",
        _("Data subject"),
        _("Data subjects"),
        EntityKind.TECHNICAL,
        title="id",
    )
