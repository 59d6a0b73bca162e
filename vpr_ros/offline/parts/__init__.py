"""Several bags into one map: each becomes a part map, wherever and whenever, and the parts join in the bags' order."""
