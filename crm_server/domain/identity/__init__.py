"""Users, roles, teams, territories, sessions and API tokens."""
