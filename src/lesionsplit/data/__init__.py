"""From folders of slices to what a network eats, and back onto the slice's own grid."""
