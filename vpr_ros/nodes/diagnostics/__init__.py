"""/diagnostics of the nodes: one task per stage, each says what is missing and what to do about it."""
