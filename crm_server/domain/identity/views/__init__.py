"""The pages of identity: logging in, one's own security, users, roles, teams and territories."""
