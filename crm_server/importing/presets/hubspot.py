"""Exports of HubSpot: CSV or XLSX with property labels as headers."""

from __future__ import annotations

from crm_server.importing.presets.base import Preset

__all__ = ["PRESETS"]

_TELLING = (
    "Lifecycle Stage",
    "Contact owner",
    "Phone Number",
    "Associated Company IDs",
    "Create Date",
    "Lead Status",
)
"""Any of these beside the four common headers tells a HubSpot export from another system's."""

_CONTACTS = Preset(
    name="hubspot-contacts",
    system="HubSpot",
    entity="contact",
    signatures=(
        *(frozenset({"Record ID", "First Name", "Last Name", "Email", telling}) for telling in _TELLING),
        frozenset({"Record ID - Contact", "First Name", "Last Name"}),
    ),
    fields={
        "external_id": ("Record ID", "Record ID - Contact"),
        "salutation": ("Salutation",),
        "given_name": ("First Name",),
        "family_name": ("Last Name",),
        "email": ("Email",),
        "email_private": ("Work email", "Additional email addresses"),
        "phone": ("Phone Number",),
        "mobile": ("Mobile Phone Number",),
        "job_title": ("Job Title",),
        "account_id": ("Associated Company", "Company Name", "Company name", "Associated Company IDs"),
        "street": ("Street Address",),
        "city": ("City",),
        "region": ("State/Region",),
        "postal_code": ("Postal Code",),
        "country": ("Country/Region",),
        "birth_date": ("Date of birth",),
        "language": ("Preferred language",),
        "lifecycle_stage": ("Lifecycle Stage",),
        "source": ("Original Source", "Original Traffic Source"),
        "owner_id": ("Contact owner",),
        "description": ("Message", "Notes"),
    },
    by_id=frozenset({"Associated Company IDs"}),
    date_order="ymd",
)

_COMPANIES = Preset(
    name="hubspot-companies",
    system="HubSpot",
    entity="account",
    signatures=tuple(
        frozenset({"Record ID", "Company name", telling})
        for telling in (
            "Company Domain Name",
            "Company owner",
            "Website URL",
            "Lifecycle Stage",
            "Number of Employees",
        )
    ),
    fields={
        "external_id": ("Record ID",),
        "name": ("Company name",),
        "website": ("Website URL", "Company Domain Name"),
        "phone": ("Phone Number",),
        "industry": ("Industry",),
        "kind": ("Type",),
        "lifecycle_stage": ("Lifecycle Stage",),
        "parent_id": ("Parent Company",),
        "employees": ("Number of Employees",),
        "annual_revenue": ("Annual Revenue",),
        "billing_street": ("Street Address",),
        "billing_city": ("City",),
        "billing_region": ("State/Region",),
        "billing_postal_code": ("Postal Code",),
        "billing_country": ("Country/Region",),
        "owner_id": ("Company owner",),
        "description": ("Description", "About Us"),
    },
    date_order="ymd",
)

_DEALS = Preset(
    name="hubspot-deals",
    system="HubSpot",
    entity="opportunity",
    signatures=(frozenset({"Record ID", "Deal Name", "Deal Stage"}),),
    fields={
        "external_id": ("Record ID",),
        "name": ("Deal Name",),
        "account_id": ("Associated Company", "Company Name", "Associated Company IDs"),
        "contact_id": ("Associated Contact", "Associated Contact IDs"),
        "pipeline_id": ("Pipeline",),
        "stage_id": ("Deal Stage",),
        "amount": ("Amount",),
        "currency": ("Currency",),
        "probability": ("Deal probability", "Deal Probability"),
        "close_date": ("Close Date",),
        "source": ("Original Source Type", "Original Traffic Source", "Lead source"),
        "next_step": ("Next step",),
        "owner_id": ("Deal owner",),
        "description": ("Deal Description",),
    },
    by_id=frozenset({"Associated Company IDs", "Associated Contact IDs"}),
    date_order="ymd",
)

PRESETS = (_CONTACTS, _COMPANIES, _DEALS)
