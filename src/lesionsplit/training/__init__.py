"""Training: the loop, run folders and records, for any method."""
