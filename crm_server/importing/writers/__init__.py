"""Lists on their way out: CSV, XLSX and vCard 4.

Called by the export view and ``kontor export``. What a spreadsheet would run as a formula is made harmless;
the importer undoes that, so that a list can go out and come back unchanged.
"""
