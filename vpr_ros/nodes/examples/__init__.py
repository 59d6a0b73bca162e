"""Small consumers of the node, to run and to read: a loop closure for SLAM, a pose graph, a start for AMCL."""
