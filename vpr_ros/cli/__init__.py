"""The command line `vpr_ros`: one small module per group of commands; heavy libraries load inside the commands."""

from vpr_ros.cli.app import app, main

__all__ = ["app", "main"]
