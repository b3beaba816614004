"""A study: several methods trained on the same slices, and scored in the same way."""
