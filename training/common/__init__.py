"""Modules that the training of students and of teachers share."""
