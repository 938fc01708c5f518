"""Alembic migrations and the SQL that they apply."""

HEAD = "0001"
"""The newest revision; a test compares it with the files. Named here so that serving needs no Alembic."""
