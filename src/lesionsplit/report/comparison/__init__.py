"""The report of a comparison: all methods side by side in figures, tiles, tables and two pages."""
