"""The parameters of the nodes: tables by which they are declared, checked, documented and written to YAML."""
