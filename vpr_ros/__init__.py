"""Visual place recognition for ROS 2: the ROS-free core, the nodes and the command line."""

__version__ = "0.1.0"
