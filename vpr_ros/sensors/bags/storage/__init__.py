"""The files of a bag: MCAP, SQLite and ROS 1, whole or as far as they are whole."""
