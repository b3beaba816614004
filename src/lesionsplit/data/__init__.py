"""From folders of slices to the input of a network, and from its output back to the slice's own grid."""
