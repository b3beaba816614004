"""The node over HTTP: a page for people, JSON for programs, STOW-RS for archives."""
