"""Samples of any data set, the batches drawn from them, and their augmentation."""
