"""Drawn lung slices whose lesions are known exactly: the package's only data."""
