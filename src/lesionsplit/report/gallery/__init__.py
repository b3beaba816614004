"""The page about the images of a folder."""
