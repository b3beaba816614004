"""Measure lungs and lesions: volumes, percentages, HU, diameters, severity scores."""
