"""Evaluation: numpy only; gets score maps and masks, never a network."""
