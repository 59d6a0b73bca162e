"""Entry points of the nodes: `ros2 run vpr_ros vpr_node` and `ros2 run vpr_ros recorder`."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from vpr_ros.errors import VprError
from vpr_ros.idle_threads import let_idle_threads_sleep


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
    """Spins the node that `make` builds in one thread; Ctrl-C is the normal end, at any moment."""
    let_idle_threads_sleep()
    interrupted = []

    def interrupt(*_):
        interrupted.append(True)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    node, code, rclpy = None, 0, None
    try:
        import rclpy
        import rclpy.utilities
        from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

        rclpy.init(args=sys.argv)
        _refuse_words(rclpy.utilities.remove_ros_args(sys.argv)[1:])
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
    except KeyboardInterrupt:
        pass
    except Exception as error:
        # Ctrl-C within a compiled module comes out as whatever error that module makes of it.
        if not interrupted:
            code = _explained(error)
    finally:
        # `ros2 launch` passes Ctrl-C on after the terminal has sent it: the second one must not stop the closing.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if node is not None:
            node.close()
        if rclpy is not None:
            with suppress(Exception):
                rclpy.try_shutdown()
    # All files are closed. Tearing the interpreter down takes a second, and crashes while the network still computes.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _refuse_words(words: list[str]) -> None:
    """ROS passes over what does not stand behind --ros-args; here nothing else has a meaning."""
    if words:
        name, assigned, value = words[0].partition(":=")
        hint = f"; is `--ros-args -p {name}:={value}` meant?" if assigned else ""
        raise VprError(f"this node has no argument '{words[0]}': what is set stands behind --ros-args{hint}")


def _explained(error: Exception) -> int:
    """Says what went wrong; returns the exit code."""
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "rclpy":
        print(
            f"this node needs ROS 2 ({error}): source its setup file, e.g. `. /opt/ros/jazzy/setup.bash`",
            file=sys.stderr,
        )
        return 1
    if isinstance(error, VprError):
        print(error, file=sys.stderr)
        return 2
    traceback.print_exception(error)
    return 1


if __name__ == "__main__":
    sys.exit(vpr_node())
