"""Bringing other systems' files in, and taking lists out.

A file goes through four steps, each a small module that can be used and tested alone:

1. ``detect``   what the bytes are: kind, encoding, delimiter, header row (never the file's extension);
2. ``readers``  the rows, as text, with the line each one starts on;
3. ``mapping``  which column feeds which field, proposed by ``propose`` or taken from ``presets``;
4. ``values``   the typed value of a cell, or a sentence that says what is wrong with it.

Nothing in these steps knows the database: ``crm_server.domain.imports`` runs them as a job and writes.
The way out is ``writers``: CSV, XLSX and vCard 4, safe to open in a spreadsheet.
"""
