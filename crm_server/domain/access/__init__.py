"""The access explainer: why somebody may, or may not, do something with a record."""
