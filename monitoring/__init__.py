"""Metrics, health and structured logs. The lowest layer: every other package may use it, it uses none of them."""
