"""Exports of Dynamics 365 Sales: XLSX (or CSV) whose first columns are hidden and begin with "(Do Not
Modify)".
"""

from __future__ import annotations

from crm_server.importing.presets.base import Preset

__all__ = ["PRESETS"]

_CONTACTS = Preset(
    name="dynamics-contacts",
    system="Dynamics 365",
    entity="contact",
    signatures=(frozenset({"(Do Not Modify) Contact", "(Do Not Modify) Row Checksum"}),),
    fields={
        "external_id": ("(Do Not Modify) Contact",),
        "@full_name": ("Full Name",),
        "salutation": ("Salutation",),
        "given_name": ("First Name",),
        "family_name": ("Last Name",),
        "job_title": ("Job Title",),
        "department": ("Department",),
        "account_id": ("Company Name", "Account Name"),
        "email": ("Email", "Email 1"),
        "email_private": ("Email Address 2", "Email 2"),
        "phone": ("Business Phone",),
        "mobile": ("Mobile Phone", "Mobile"),
        "city": ("Address 1: City",),
        "region": ("Address 1: State/Province",),
        "postal_code": ("Address 1: ZIP/Postal Code",),
        "country": ("Address 1: Country/Region",),
        "birth_date": ("Birthday",),
        "reports_to_id": ("Manager",),
        "owner_id": ("Owner",),
        "description": ("Description",),
    },
    merged={"street": ("Address 1: Street 1", "Address 1: Street 2", "Address 1: Street 3")},
)

_ACCOUNTS = Preset(
    name="dynamics-accounts",
    system="Dynamics 365",
    entity="account",
    signatures=(frozenset({"(Do Not Modify) Account", "(Do Not Modify) Row Checksum"}),),
    fields={
        "external_id": ("(Do Not Modify) Account",),
        "name": ("Account Name",),
        "kind": ("Relationship Type",),
        "industry": ("Industry",),
        "parent_id": ("Parent Account",),
        "phone": ("Main Phone",),
        "email": ("Email",),
        "website": ("Website",),
        "employees": ("Number of Employees",),
        "annual_revenue": ("Annual Revenue",),
        "currency": ("Currency",),
        "billing_city": ("Address 1: City",),
        "billing_region": ("Address 1: State/Province",),
        "billing_postal_code": ("Address 1: ZIP/Postal Code",),
        "billing_country": ("Address 1: Country/Region",),
        "owner_id": ("Owner",),
        "description": ("Description",),
    },
    merged={"billing_street": ("Address 1: Street 1", "Address 1: Street 2", "Address 1: Street 3")},
)

_OPPORTUNITIES = Preset(
    name="dynamics-opportunities",
    system="Dynamics 365",
    entity="opportunity",
    signatures=(frozenset({"(Do Not Modify) Opportunity", "(Do Not Modify) Row Checksum"}),),
    fields={
        "external_id": ("(Do Not Modify) Opportunity",),
        "name": ("Topic",),
        "account_id": ("Account", "Potential Customer"),
        "contact_id": ("Contact",),
        "stage_id": ("Sales Stage", "Pipeline Phase"),
        "amount": ("Est. Revenue", "Est. revenue", "Actual Revenue"),
        "currency": ("Currency",),
        "probability": ("Probability",),
        "close_date": ("Est. Close Date", "Est. close date", "Actual Close Date"),
        "owner_id": ("Owner",),
        "description": ("Description",),
    },
)

PRESETS = (_CONTACTS, _ACCOUNTS, _OPPORTUNITIES)
