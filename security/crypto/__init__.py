"""Cryptographic mechanisms: sealed documents, data keys, epochs and their providers, blind index.

Nothing here knows the CRM, SQL or HTTP. The formats are described in ``docs/cryptography.md`` and are a contract:
frozen vectors in ``tests/unit/crypto`` notice any change. Import from the modules, not from this package.
"""
