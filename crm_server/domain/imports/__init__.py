"""Imports as records of the CRM: the file, its mapping, its dry run, its run with progress, and its undoing.

``services`` changes imports, ``queries`` reads them, ``jobs`` runs them in the background, ``views`` are the
pages and ``api`` the addresses below ``/api/v1/imports``. What a file means is decided in
``crm_server.importing``; this package writes the result into the database.
"""
