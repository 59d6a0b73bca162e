"""TF map -> odom from the node vpr: the publisher, and the watch for others who publish it."""
