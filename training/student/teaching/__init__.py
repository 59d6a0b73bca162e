"""What a student takes from a teacher: the loss between their embeddings, and how far the teacher is believed."""
