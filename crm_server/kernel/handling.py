"""How the CRM treats values, by kind. Models name one of these instead of repeating six words a column."""

from __future__ import annotations

from compliance.datamap import (
    Access,
    Audit,
    Erasure,
    Handling,
    KeyClass,
    Privacy,
    Retention,
    Withheld,
)

BUSINESS = Handling(
    Privacy.NONE, KeyClass.NONE, Retention.RELATIONSHIP, Audit.VALUE, Erasure.NOT_PERSONAL, Access.GENERAL
)
"""Facts about companies, deals and products. Not personal."""

FIGURES = Handling(
    Privacy.NONE, KeyClass.NONE, Retention.SALES, Audit.VALUE, Erasure.NOT_PERSONAL, Access.FINANCIAL
)
"""Amounts of deals and revenues: not personal, but not for every role."""

SYSTEM = Handling(
    Privacy.NONE,
    KeyClass.NONE,
    Retention.OPERATION,
    Audit.OFF,
    Erasure.NOT_PERSONAL,
    Access.GENERAL,
)
"""Keys, versions and timestamps that the system keeps of every record."""

LIFE = Handling(
    Privacy.NONE, KeyClass.NONE, Retention.OPERATION, Audit.FACT, Erasure.NOT_PERSONAL, Access.GENERAL
)
"""That a record was put into the bin or taken out of it."""

TECHNICAL = Handling(
    Privacy.NONE,
    KeyClass.NONE,
    Retention.OPERATION,
    Audit.OFF,
    Erasure.NOT_PERSONAL,
    Access.SYSTEM,
    Withheld("Bookkeeping of the system, no data about a person."),
)
"""Rows that serve the system alone."""

SECRET = Handling(
    Privacy.NONE,
    KeyClass.AUTH,
    Retention.SECURITY,
    Audit.FACT,
    Erasure.NOT_PERSONAL,
    Access.SECRET,
    Withheld("A secret that protects an account; giving it out would defeat it."),
)
"""Hashes and seeds. Never shown, never exported."""

NAME = Handling(
    Privacy.IDENTIFIER,
    KeyClass.IDENTITY,
    Retention.RELATIONSHIP,
    Audit.VALUE,
    Erasure.DELETE,
    Access.PERSONAL,
)
"""What identifies a person."""

CONTACT_DETAIL = Handling(
    Privacy.CONTACT, KeyClass.IDENTITY, Retention.RELATIONSHIP, Audit.VALUE, Erasure.DELETE, Access.PERSONAL
)
"""How a person is reached."""

PERSON_FACT = Handling(
    Privacy.IDENTIFIER, KeyClass.IDENTITY, Retention.RELATIONSHIP, Audit.VALUE, Erasure.DELETE, Access.GENERAL
)
"""What is known of a person in their role: title, department."""

PERSON_NOTE = Handling(
    Privacy.FREE_TEXT, KeyClass.IDENTITY, Retention.RELATIONSHIP, Audit.VALUE, Erasure.DELETE, Access.PERSONAL
)
"""Free text about a person."""

SUPPORT_NOTE = Handling(
    Privacy.FREE_TEXT, KeyClass.SUPPORT, Retention.SERVICE, Audit.VALUE, Erasure.DELETE, Access.GENERAL
)
"""Free text of a case: what the customer and service wrote."""

SOUGHT = Handling(
    Privacy.FREE_TEXT, KeyClass.IDENTITY, Retention.OPERATION, Audit.FACT, Erasure.DELETE, Access.GENERAL
)
"""What somebody looks for, which may name a person."""

PERSON_SEGMENT = Handling(
    Privacy.IDENTIFIER,
    KeyClass.NONE,
    Retention.RELATIONSHIP,
    Audit.VALUE,
    Erasure.DELETE,
    Access.GENERAL,
    clear="Identifies nobody alone, and lists are filtered by it in the database.",
)
"""What puts a person into a large group: salutation, language, country, stage, source."""

STAFF = Handling(
    Privacy.EMPLOYEE,
    KeyClass.NONE,
    Retention.EMPLOYMENT,
    Audit.VALUE,
    Erasure.ANONYMISE,
    Access.GENERAL,
    clear="People must be able to log in, and administrators to be warned, while the keys are away.",
)
"""Data about the company's own staff as users of the system."""
