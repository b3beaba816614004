"""Trained networks: weights files with their cards, export, and the engines that run them."""
