"""From trained weights to the checkpoint that a robot runs."""
