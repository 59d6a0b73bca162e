"""Inputs of the nodes: images, and poses, clouds and TF of their times. `settings` and `publishers` need no ROS."""
