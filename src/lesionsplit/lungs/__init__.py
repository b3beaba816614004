"""Where the lungs are in a CT volume, and which is the right one."""
