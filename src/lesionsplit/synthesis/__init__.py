"""Synthetic lesions in normal slices, so that both parts of a slice are known exactly; torch only, no files."""
