"""Gives AMCL (or another subscriber of `initialpose`) its start: asks the node vpr where the robot is, once.

AMCL scatters its particles anew with every initial pose, so a pose is handed over once and never streamed. It carries
the pose forward by odometry from the header's stamp, which therefore stays the image's.
"""

import sys
import time
from typing import Any

from vpr_ros.errors import VprError
from vpr_ros.nodes.main import run
from vpr_ros.nodes.parameters.declaration import declare, values_of, warn_of_undeclared
from vpr_ros.runtime.parameters.parameter import Parameter

try:
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from rclpy.clock import Clock, ClockType
    from rclpy.node import Node
    from std_srvs.srv import Trigger
except ImportError:  # without ROS only main() is of use, and says so
    Node = object  # type: ignore[assignment,misc]

PARAMETERS = (
    Parameter(
        "map_frame", "map", "The frame that the consumer's map has; AMCL ignores poses in any other.", read_only=True
    ),
    Parameter(
        "max_std_m",
        0.0,
        "Hand over only a pose whose standard deviation in x and in y is at most this, in "
        "metres, and ask again otherwise; 0: any. A place of 10 m radius has 5 m, a registered match far less.",
        0.0,
        1e9,
        read_only=True,
    ),
    Parameter("timeout_s", 0.0, "Give up after so many seconds, with exit code 1; 0: never.", 0.0, 1e9, read_only=True),
)
TICK_S = 0.25
REPORT_PERIOD_S = 5.0


class AmclHandover(Node):  # pyright: ignore[reportGeneralTypeIssues]
    """Calls `vpr/relocalize`, waits for `vpr/initial_pose`, publishes it once on `initialpose` and is done."""

    def __init__(self, **kwargs):
        super().__init__("amcl_handover", **kwargs)
        declare(self, PARAMETERS)
        warn_of_undeclared(self, PARAMETERS)
        self._values = values_of(self, PARAMETERS)
        self.outcome: bool | None = None  # handed over, given up, or neither yet
        self._called = False
        self._ready_for = 0
        self._started = time.monotonic()
        self._reported_at = self._started - REPORT_PERIOD_S + 2.0
        self._relocalize = self.create_client(Trigger, "vpr/relocalize")
        self._service = self.resolve_service_name("vpr/relocalize")
        self._subscription = self.create_subscription(PoseWithCovarianceStamped, "vpr/initial_pose", self._on_pose, 1)
        self._publisher = self.create_publisher(PoseWithCovarianceStamped, "initialpose", 1)
        # Steady: with simulated time, a bag that is over would stop the clock and with it the timeout.
        self.create_timer(TICK_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """The end: exit code 1 where a pose was wanted and none was handed over, 0 otherwise, after Ctrl-C as well."""
        if self.outcome is False:
            raise SystemExit(1)

    def _tick(self) -> None:
        now, timeout_s = time.monotonic(), self._values["timeout_s"]
        waiting_for = self._missing()
        if timeout_s and now - self._started > timeout_s:
            self._end(False, f"no pose was handed over in {timeout_s:g} s: {waiting_for or 'no place was accepted'}")
        elif waiting_for is None and not self._called:
            # Two ticks in a row: what discovery has just found may take a moment until messages get through.
            self._ready_for += 1
            if self._ready_for >= 2:
                self._call()
        elif now - self._reported_at > REPORT_PERIOD_S:
            self._reported_at = now
            self.get_logger().info(f"waiting: {waiting_for or 'no place is accepted yet'}")

    def _missing(self) -> str | None:
        """What is missing before the call makes sense; the one message must not be sent without a subscriber."""
        if not self._relocalize.service_is_ready():
            return f"the service {self._service} is not there (is the node vpr running?)"
        if not self.count_publishers(self._subscription.topic_name):
            return f"nobody publishes {self._subscription.topic_name} (is the node vpr active?)"
        if not self._publisher.get_subscription_count():
            return f"nobody listens on {self._publisher.topic_name} (is AMCL running?)"
        return None

    def _call(self) -> None:
        self._called = True
        self._relocalize.call_async(Trigger.Request()).add_done_callback(self._on_reply)

    def _on_reply(self, future: Any) -> None:
        reply = future.result()
        if not reply.success:
            self._end(False, f"{self._service} refused: {reply.message}")

    def _on_pose(self, message: Any) -> None:
        if not self._called or self.outcome is not None:
            return  # requested by another node
        frame, wanted = message.header.frame_id, self._values["map_frame"]
        if frame != wanted:
            self._end(
                False,
                f"the pose is in the frame '{frame}', and AMCL would ignore it: its map has '{wanted}' "
                "(parameter map_frame)",
            )
            return
        std_m = max(message.pose.covariance[0], message.pose.covariance[7], 0.0) ** 0.5
        if self._values["max_std_m"] and not std_m <= self._values["max_std_m"]:
            self.get_logger().info(f"a pose with a standard deviation of {std_m:.2f} m is too vague: asking again")
            self._called = False
            return
        self._publisher.publish(message)
        if hasattr(self._publisher, "wait_for_all_acked"):
            from rclpy.duration import Duration

            self._publisher.wait_for_all_acked(Duration(seconds=2.0))  # the end of this process must not outrun it
        p = message.pose.pose.position
        self._end(True, f"handed over: x {p.x:.2f} m, y {p.y:.2f} m in '{frame}', standard deviation {std_m:.2f} m")

    def _end(self, outcome: bool, sentence: str) -> None:
        if self.outcome is None:
            self.outcome = outcome
            log = self.get_logger().info if outcome else self.get_logger().error
            log(sentence)
            self.context.try_shutdown()  # ends the executor's spin


def main() -> int:
    """Hands one pose over; returns the exit code."""
    try:
        return run(AmclHandover)
    except VprError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
