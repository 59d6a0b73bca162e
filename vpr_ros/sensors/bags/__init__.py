"""Bags: reading and writing them without ROS, what is in one, and a drive as a stream of observations."""
