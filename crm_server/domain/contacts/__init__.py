"""Contacts: the persons that the company deals with."""
