"""Saved views: named filters, columns and sort orders of a list."""
