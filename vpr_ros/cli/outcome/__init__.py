"""How a command ends: what stands at its output path, and what an interrupt leaves."""
