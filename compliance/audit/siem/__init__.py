"""Delivery of audit events to a SIEM: events as values, formats as pure functions, transports that lose
nothing.
"""
