"""Data subjects: natural persons known to the system. Rows about a person carry `subject_id`."""
