"""What a run recognises of its validation set: before the first step, after its epochs, and in the end."""
