"""Accounts: the companies that are customers, prospects, partners or suppliers."""
