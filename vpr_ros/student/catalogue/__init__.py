"""Which weights there are, which file a name means, and how they are fetched and imported."""
