"""Outputs of the node `vpr`: standard messages, markers and the match image."""
