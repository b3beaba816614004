"""Comparison of methods: trained on the same slices and scored in the same way."""
