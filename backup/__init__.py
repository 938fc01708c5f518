"""Backup, restore and drill. Works when the application cannot start: it runs `kontor` and never imports it."""
