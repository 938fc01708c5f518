"""Alembic migrations and the SQL that they apply."""
