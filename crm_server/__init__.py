"""Kontor: the application."""
