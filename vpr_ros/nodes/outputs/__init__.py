"""What the node says: standard messages, markers and the match image. `pictures` needs no ROS."""
