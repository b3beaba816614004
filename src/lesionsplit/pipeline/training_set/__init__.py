"""From scans with a word for each to a data set for `train`: the command `prepare`."""
