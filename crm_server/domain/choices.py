"""Vocabularies that several domains share."""

from __future__ import annotations

from compliance.datamap.text import _

LIFECYCLE = {
    "subscriber": _("Subscriber"),
    "lead": _("Lead"),
    "marketing_qualified": _("Marketing qualified"),
    "sales_qualified": _("Sales qualified"),
    "opportunity": _("Opportunity"),
    "customer": _("Customer"),
    "evangelist": _("Evangelist"),
    "former": _("Former customer"),
}
SOURCES = {
    "web": _("Website"),
    "phone": _("Phone"),
    "mail": _("E-mail"),
    "referral": _("Referral"),
    "event": _("Event"),
    "partner": _("Partner"),
    "advertising": _("Advertising"),
    "social": _("Social media"),
    "import": _("Import"),
    "other": _("Other"),
}
PRIORITIES = {
    "low": _("Low"),
    "normal": _("Normal"),
    "high": _("High"),
    "urgent": _("Urgent"),
}
