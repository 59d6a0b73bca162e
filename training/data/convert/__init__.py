"""Public data sets as ROS 2 bags."""
