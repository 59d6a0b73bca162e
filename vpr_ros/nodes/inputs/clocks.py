"""Whether the node's clock runs, and whether the images' stamps are of the same clock."""

import time
from typing import Any, Literal

from vpr_ros.sensors.stamps import JUMP_NS

STANDS_S = 5.0  # simulated time that stands still for so long is told; a bag may begin a little later than the node
ClockProblem = Literal["no clock", "clock stands", "images ahead"]


class ClockWatch:
    """Looks at the node's clock again and again, in the executor's thread."""

    def __init__(self, node: Any):
        self._node = node
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._now_ns, self._ran_at = 0, time.monotonic()
        self._told: set[ClockProblem] = set()
        self.ahead_ns: int | None = None  # of the last image's stamp, against the node's clock at its arrival

    def image(self, stamp_ns: int) -> None:
        """An image has come."""
        self.ahead_ns = stamp_ns - self._node.get_clock().now().nanoseconds

    def look(self) -> list[str]:
        """To be called about once a second; problems that were not there before, for the log."""
        now_ns = self._node.get_clock().now().nanoseconds
        if now_ns != self._now_ns:
            self._now_ns, self._ran_at = now_ns, time.monotonic()
        found = self._problems()
        new = [sentence for kind, sentence in found.items() if kind not in self._told]
        self._told = set(found)
        return new

    def problems(self) -> list[str]:
        """Sentences on clocks that cannot be right."""
        return list(self._problems().values())

    def _problems(self) -> dict[ClockProblem, str]:
        found: dict[ClockProblem, str] = {}
        stands_s = time.monotonic() - self._ran_at
        if self._node.get_parameter("use_sim_time").value and stands_s > STANDS_S:
            if self._now_ns == 0:
                found["no clock"] = "use_sim_time is true and /clock brings no time: play with --clock, or set it false"
            else:
                found["clock stands"] = f"use_sim_time is true and /clock has stood still for {stands_s:.0f} s"
        elif self.ahead_ns is not None and self.ahead_ns > JUMP_NS:
            found["images ahead"] = (
                f"images are stamped {self.ahead_ns * 1e-9:.1f} s ahead of this node's clock: set the camera's clock "
                "right, or the node's; odometry, TF and clouds are found only if their stamps are wrong alike"
            )
        return found
