"""Ground truth, figures and the report of a run."""
