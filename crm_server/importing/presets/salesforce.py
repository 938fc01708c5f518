"""Exports of Salesforce: reports as CSV (labels) and Data Loader or the weekly data export (API names)."""

from __future__ import annotations

from crm_server.importing.presets.base import Preset

__all__ = ["PRESETS"]

_CONTACTS = Preset(
    name="salesforce-contacts",
    system="Salesforce",
    entity="contact",
    signatures=(
        frozenset({"Last Name", "Account Name", "Mailing Zip/Postal Code"}),
        frozenset({"Last Name", "Account Name", "Mailing State/Province"}),
        frozenset({"Contact ID", "Last Name", "Account Name", "Email"}),
        frozenset({"LastName", "AccountId", "MailingPostalCode"}),
    ),
    fields={
        "external_id": ("Contact ID", "Id"),
        "salutation": ("Salutation",),
        "given_name": ("First Name", "FirstName"),
        "family_name": ("Last Name", "LastName"),
        "job_title": ("Title",),
        "department": ("Department",),
        "account_id": ("Account Name", "AccountId", "Account ID"),
        "email": ("Email",),
        "phone": ("Phone", "Business Phone"),
        "mobile": ("Mobile", "MobilePhone", "Mobile Phone"),
        "street": ("Mailing Street", "MailingStreet"),
        "city": ("Mailing City", "MailingCity"),
        "region": ("Mailing State/Province", "MailingState", "Mailing State"),
        "postal_code": ("Mailing Zip/Postal Code", "MailingPostalCode"),
        "country": ("Mailing Country", "MailingCountry"),
        "birth_date": ("Birthdate",),
        "source": ("Lead Source", "LeadSource"),
        "language": ("Language", "Languages"),
        "reports_to_id": ("Reports To", "ReportsToId"),
        "owner_id": ("Contact Owner", "Owner"),
        "description": ("Contact Description", "Description"),
    },
    by_id=frozenset({"AccountId", "Account ID", "ReportsToId"}),
)

_ACCOUNTS = Preset(
    name="salesforce-accounts",
    system="Salesforce",
    entity="account",
    signatures=(
        frozenset({"Account Name", "Billing Zip/Postal Code"}),
        frozenset({"Account ID", "Account Name", "Account Owner"}),
        frozenset({"Name", "BillingPostalCode", "NumberOfEmployees"}),
    ),
    fields={
        "external_id": ("Account ID", "Id"),
        "name": ("Account Name", "Name"),
        "kind": ("Type",),
        "industry": ("Industry",),
        "parent_id": ("Parent Account", "ParentId"),
        "phone": ("Phone",),
        "website": ("Website",),
        "annual_revenue": ("Annual Revenue", "AnnualRevenue"),
        "currency": ("Annual Revenue Currency", "Account Currency", "CurrencyIsoCode"),
        "employees": ("Employees", "NumberOfEmployees"),
        "billing_street": ("Billing Street", "BillingStreet"),
        "billing_city": ("Billing City", "BillingCity"),
        "billing_region": ("Billing State/Province", "BillingState"),
        "billing_postal_code": ("Billing Zip/Postal Code", "BillingPostalCode"),
        "billing_country": ("Billing Country", "BillingCountry"),
        "owner_id": ("Account Owner",),
        "description": ("Account Description", "Description"),
    },
    by_id=frozenset({"ParentId"}),
)

_OPPORTUNITIES = Preset(
    name="salesforce-opportunities",
    system="Salesforce",
    entity="opportunity",
    signatures=(
        frozenset({"Opportunity Name", "Stage", "Close Date"}),
        frozenset({"Name", "StageName", "CloseDate"}),
    ),
    fields={
        "external_id": ("Opportunity ID", "Id"),
        "name": ("Opportunity Name", "Name"),
        "account_id": ("Account Name", "AccountId"),
        "contact_id": ("Primary Contact", "Contact Name", "ContactId"),
        "stage_id": ("Stage", "StageName"),
        "amount": ("Amount",),
        "currency": ("Amount Currency", "Opportunity Currency", "CurrencyIsoCode"),
        "probability": ("Probability (%)", "Probability"),
        "close_date": ("Close Date", "CloseDate"),
        "source": ("Lead Source", "LeadSource"),
        "next_step": ("Next Step", "NextStep"),
        "owner_id": ("Opportunity Owner",),
        "description": ("Description",),
    },
    by_id=frozenset({"AccountId", "ContactId"}),
)

PRESETS = (_CONTACTS, _ACCOUNTS, _OPPORTUNITIES)
