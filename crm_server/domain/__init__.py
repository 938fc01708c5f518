"""One folder a concept, with fixed names inside: models, services, queries, views, permissions, events."""
