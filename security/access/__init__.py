"""Mechanisms of access that are the same in every application: levels of fields, masks, lists of networks."""
