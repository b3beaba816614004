"""The report page of a case: one self-contained HTML file."""
