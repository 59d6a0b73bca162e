"""Synthetic drives: procedural cities, rendered by ray casting, as pictures, clouds, odometry and ROS 2 bags."""
