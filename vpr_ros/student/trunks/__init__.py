"""Trunks: convolutional networks with feature maps in the place of the vision transformer."""
