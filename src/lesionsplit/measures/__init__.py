"""Numbers that a reader of a CT would want of what was found."""
