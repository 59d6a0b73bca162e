"""Public data sets as sample sets, each in its authors' own layout on disk."""
