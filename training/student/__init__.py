"""Training of a student: configuration, module and run."""
