"""The PointNetVLAD benchmark: submaps, splits and index files."""
