"""Networks; the names of their weights are those of the PyTorch twins."""
