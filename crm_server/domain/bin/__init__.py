"""The bin: what lies in it, and what leaves it for good."""
