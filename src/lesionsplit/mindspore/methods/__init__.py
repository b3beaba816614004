"""Methods: objective and training step."""
