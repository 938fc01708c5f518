"""The audit log inside the application: the sealer's process, exports, and the pages of the audit administrator."""
