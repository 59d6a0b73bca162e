"""Poses of one topic by the frames they are about: two publishers on one topic are never mixed."""

from dataclasses import dataclass, field

import numpy as np

from vpr_ros.sensors.payload import frame_of
from vpr_ros.sensors.poses.collectors import PoseCollector


@dataclass(frozen=True)
class WantedFrames:
    """The frames that the poses of a topic should be about: of odometry, `frame` odom and `child` base_link; of poses
    for a map, `frame` map, and not `unlike`, the odometry's."""

    frame: str
    child: str = ""
    unlike: str = ""

    def fit(self, frame: str, child: str) -> tuple[bool, ...]:
        """How well the frames of a message fit; the greater of two fits better."""
        return child == self.child or not self.child, frame == self.frame, frame != self.unlike

    def refusal(self, frame: str, child: str) -> str:
        """Why poses in these frames are not for a map; empty where they are. Odometry, which names a child, is a pose
        only where somebody named its topic, and is taken at his word."""
        if child or not self.unlike or frame != self.unlike or frame == self.frame:
            return ""
        return (
            f"poses are in the odometry's frame {frame}, not in {self.frame}; if they are good for a map, say so: "
            f"--map-frame {frame}, or the parameter map_frame"
        )


@dataclass
class FramedPoses:
    """Poses of one child frame in one frame; messages that are not Odometry name no child."""

    frame: str
    child: str
    collector: PoseCollector = field(default_factory=PoseCollector)
    count: int = 0

    @property
    def name(self) -> str:
        """Such as 'odom -> base_link'."""
        return f"{self.frame or 'no frame'} -> {self.child}" if self.child else self.frame or "no frame"


class PosesByFrame:
    """Collects the poses of one topic, apart for each pair of frames."""

    def __init__(self):
        self._found: dict[tuple[str, str], FramedPoses] = {}
        self._chosen: FramedPoses | None = None

    @property
    def frames(self) -> set[str]:
        """All frames that the messages name."""
        return {name for pair in self._found for name in pair if name}

    def add(self, msg, bag_time_ns: int, stamp: int, T: np.ndarray, covariance: np.ndarray | None) -> None:
        """Take the pose (4, 4) of a message, with its covariance (6, 6) or None."""
        pair = (frame_of(msg), str(getattr(msg, "child_frame_id", "")).lstrip("/"))
        poses = self._found.setdefault(pair, FramedPoses(*pair))
        poses.collector.add(bag_time_ns, stamp, T, covariance)
        poses.count += 1

    def choose(self, wanted: WantedFrames) -> FramedPoses | None:
        """Those whose frames fit best, of equals the most; whatever came first. None without any."""
        self._chosen = max(
            self._found.values(), key=lambda p: (wanted.fit(p.frame, p.child), p.count, p.name), default=None
        )
        return self._chosen

    def disagreement(self, topic: str) -> str:
        """A sentence on what else the topic carries than the chosen poses; empty where it carries nothing else."""
        others = [p for p in self._found.values() if p is not self._chosen]
        if not others or self._chosen is None:
            return ""
        left = ", ".join(f"{p.count} of {p.name}" for p in others)
        return (
            f"{topic} carries poses of more than one publisher: {self._chosen.count} of {self._chosen.name} are used, "
            f"{left} are not"
        )
