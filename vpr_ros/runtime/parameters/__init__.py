"""The parameters of the nodes and of the offline commands: one table, from which all read names and defaults."""
