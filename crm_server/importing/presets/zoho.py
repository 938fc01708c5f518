"""Exports of Zoho CRM: CSV with field labels, and beside each lookup a column ``….id``."""

from __future__ import annotations

from crm_server.importing.presets.base import Preset

__all__ = ["PRESETS"]

_CONTACTS = Preset(
    name="zoho-contacts",
    system="Zoho CRM",
    entity="contact",
    signatures=(
        frozenset({"Contact Owner.id", "Last Name"}),
        frozenset({"Contact Owner", "Last Name", "Mailing Zip"}),
        frozenset({"Contact Id", "Contact Owner", "Last Name", "Account Name.id"}),
    ),
    fields={
        "external_id": ("Record Id", "Contact Id"),
        "salutation": ("Salutation",),
        "given_name": ("First Name",),
        "family_name": ("Last Name",),
        "email": ("Email",),
        "email_private": ("Secondary Email",),
        "phone": ("Phone",),
        "mobile": ("Mobile",),
        "job_title": ("Title",),
        "department": ("Department",),
        "account_id": ("Account Name", "Company Name", "Account Name.id"),
        "street": ("Mailing Street",),
        "city": ("Mailing City",),
        "region": ("Mailing State",),
        "postal_code": ("Mailing Zip",),
        "country": ("Mailing Country",),
        "birth_date": ("Date of Birth",),
        "source": ("Lead Source",),
        "reports_to_id": ("Reporting To", "Reports To"),
        "owner_id": ("Contact Owner",),
        "description": ("Description",),
    },
    by_id=frozenset({"Account Name.id"}),
    date_order="ymd",
)

_ACCOUNTS = Preset(
    name="zoho-accounts",
    system="Zoho CRM",
    entity="account",
    signatures=(
        frozenset({"Account Owner.id", "Account Name"}),
        frozenset({"Account Owner", "Account Name", "Billing Code"}),
    ),
    fields={
        "external_id": ("Record Id", "Account Id"),
        "name": ("Account Name",),
        "kind": ("Account Type",),
        "industry": ("Industry",),
        "parent_id": ("Parent Account",),
        "phone": ("Phone",),
        "website": ("Website",),
        "employees": ("Employees",),
        "annual_revenue": ("Annual Revenue",),
        "currency": ("Currency",),
        "billing_street": ("Billing Street",),
        "billing_city": ("Billing City",),
        "billing_region": ("Billing State",),
        "billing_postal_code": ("Billing Code",),
        "billing_country": ("Billing Country",),
        "owner_id": ("Account Owner",),
        "description": ("Description",),
    },
    date_order="ymd",
)

_DEALS = Preset(
    name="zoho-deals",
    system="Zoho CRM",
    entity="opportunity",
    signatures=(
        frozenset({"Deal Owner.id", "Deal Name"}),
        frozenset({"Deal Name", "Closing Date", "Stage"}),
        frozenset({"Potential Name", "Closing Date", "Stage"}),
    ),
    fields={
        "external_id": ("Record Id", "Deal Id"),
        "name": ("Deal Name", "Potential Name"),
        "account_id": ("Account Name", "Account Name.id"),
        "contact_id": ("Contact Name", "Contact Name.id"),
        "pipeline_id": ("Pipeline",),
        "stage_id": ("Stage",),
        "amount": ("Amount",),
        "currency": ("Currency",),
        "probability": ("Probability (%)", "Probability"),
        "close_date": ("Closing Date",),
        "source": ("Lead Source",),
        "next_step": ("Next Step",),
        "owner_id": ("Deal Owner",),
        "description": ("Description",),
    },
    by_id=frozenset({"Account Name.id", "Contact Name.id"}),
    date_order="ymd",
)

PRESETS = (_CONTACTS, _ACCOUNTS, _DEALS)
