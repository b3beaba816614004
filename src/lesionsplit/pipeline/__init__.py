"""From a scan to a result and its files: the one place that the command line and Python users call."""
