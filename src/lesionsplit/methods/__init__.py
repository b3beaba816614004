"""Methods: each has an objective, a training step and a score. `base` defines their interface."""
