"""Mechanisms of security, usable without the CRM."""
