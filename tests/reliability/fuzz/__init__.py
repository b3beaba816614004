"""Coverage-guided fuzzing of the binary formats, and the corpus that it found."""
