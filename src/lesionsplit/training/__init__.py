"""Training: the loop, what it saves and what it shows; knows methods, never which one."""
