"""Reports: pictures and tables of what was measured; pure functions of it."""
