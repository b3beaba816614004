"""Training of the network that finds lungs."""
