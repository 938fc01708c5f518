"""Attachments, kept in PostgreSQL in chunks."""
