"""What the nodes hear: images, poses, clouds and TF of their times. `links` and `publisher_problems` need no ROS."""
