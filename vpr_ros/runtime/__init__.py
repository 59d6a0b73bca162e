"""The live core without ROS: model and map between configure and cleanup, one answer per image."""
