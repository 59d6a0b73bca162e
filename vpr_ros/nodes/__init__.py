"""ROS 2 nodes: the one package that may import rclpy."""
