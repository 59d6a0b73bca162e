"""Training of a teacher: configuration, module and run."""
