"""Offline bundle, preflight, upgrade and rollback. Runs `kontor` and never imports it; nobody imports this."""
