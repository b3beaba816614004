"""From what a user has, files and folders of CT, to what is found in each."""
