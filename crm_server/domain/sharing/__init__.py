"""Sharing: giving single records to users and teams beside the row rules of their roles."""
