"""Whole runs without ROS: a bag into a map, a bag against a map, a run against its ground truth."""
