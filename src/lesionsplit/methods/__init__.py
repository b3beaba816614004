"""Methods: one file is one way to learn where lesions are, with its settings, objective, step and score."""
