"""Leads: persons and companies that may become customers."""
