"""Find the right and the left lung in CT."""
