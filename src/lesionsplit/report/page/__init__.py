"""The page: one self-contained HTML file in which a case is looked at and read."""
