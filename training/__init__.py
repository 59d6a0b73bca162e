"""Offline training of the student: data, losses, engine, synthetic drives. Imports the runtime, never the reverse."""
