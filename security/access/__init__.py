"""Mechanisms that decide who may do what: identities, permissions, field levels and masks.

The rules themselves (which permission asks for what) are declared by the application; here is only what
evaluates them. Everything is a pure function over frozen values, and every answer carries its reason.
"""
