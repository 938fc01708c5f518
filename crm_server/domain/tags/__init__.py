"""Tags on records."""
