"""A trained network applied to slices and to volumes."""
