"""Which samples form a batch, and which of its pairs show the same place."""
