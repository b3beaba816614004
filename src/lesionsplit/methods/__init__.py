"""Methods: an objective, a training step and a score each. `base` is what they have in common."""
