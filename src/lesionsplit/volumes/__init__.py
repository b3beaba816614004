"""CT volumes: their geometry, the files they come from and go to, and what is found in them."""
