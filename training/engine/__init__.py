"""The training loop (Lightning): configuration, the module and the run."""
