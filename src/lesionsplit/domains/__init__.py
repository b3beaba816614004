"""What methods assume of the images that they learn from: of lungs, and of images of anything."""
