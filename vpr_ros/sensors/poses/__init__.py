"""Where the robot was: trajectories, live buffers, the TF tree, and poses collected from messages."""
