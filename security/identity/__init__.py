"""Mechanisms by which a person or a program proves who it is.

Passwords, sessions, API tokens, time-based codes, recovery codes, passkeys, the company directory and the
limits on guessing. Nothing here knows the CRM: the functions decide and compute, the caller stores and
audits.
"""
