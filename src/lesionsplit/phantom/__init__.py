"""Synthetic lung slices with exactly known lesions: the only data in the package."""
