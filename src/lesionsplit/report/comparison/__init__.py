"""The report of a study: every method side by side in figures, pictures, tables and two pages."""
