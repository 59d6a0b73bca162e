"""map -> odom from verified poses and odometry, without ROS: fusion, gate, recovery, an output that moves smoothly."""
