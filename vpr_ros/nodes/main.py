"""Entry points of the nodes: `ros2 run vpr_ros vpr_node` and `ros2 run vpr_ros recorder`."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from vpr_ros.errors import VprError


def vpr_node() -> int:
    """Runs the node `vpr` until Ctrl-C or shutdown; returns the exit code."""

    def make():
        from vpr_ros.nodes.vpr import VprNode

        return VprNode()

    return run(make)


def recorder() -> int:
    """Runs the node `recorder` until Ctrl-C or shutdown; returns the exit code."""

    def make():
        from vpr_ros.nodes.recorder import RecorderNode

        return RecorderNode()

    return run(make)


def run(make: Callable[[], Any]) -> int:
    """Spins the node that `make` builds in one thread; Ctrl-C is the normal end."""
    try:
        import rclpy
        from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    except ImportError as error:
        print(f"this node needs ROS 2 ({error}): source its setup file, e.g. `. /opt/ros/jazzy/setup.bash`",
              file=sys.stderr)  # fmt: skip
        return 1
    node, code = None, 0
    try:
        rclpy.init(args=sys.argv)
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except VprError as error:
        print(error, file=sys.stderr)
        code = 2
    finally:
        # `ros2 launch` passes Ctrl-C on after the terminal has sent it: the second one must not stop the closing.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if node is not None:
            node.close()
        rclpy.try_shutdown()
    # All files are closed. Tearing the interpreter down takes a second, and crashes while the network still computes.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(vpr_node())
