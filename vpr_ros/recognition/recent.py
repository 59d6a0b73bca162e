"""Keyframes that the current drive has just made: not searched yet, or a robot would only recognise where it stands."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vpr_ros.configuration import RecognitionConfig


@dataclass
class RecentKeyframe:
    """A keyframe of the current drive."""

    keyframe_id: int
    session: int
    stamp_ns: int
    descriptor: np.ndarray
    T_odom_base: np.ndarray | None
    T_map_base: np.ndarray | None
    travelled_m: float  # by the robot when it was made


class RecentKeyframes:
    """They wait, oldest first, until the robot has been away from them for long and far enough."""

    def __init__(self, config: RecognitionConfig):
        self._config = config
        self._waiting: deque[RecentKeyframe] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, keyframe: RecentKeyframe) -> None:
        """The newest one."""
        self._waiting.append(keyframe)

    def left_behind(self, stamp_ns: int, travelled_m: float | None) -> Iterator[RecentKeyframe]:
        """Takes out those that are searched from now on; `travelled_m` None: nothing is known of the way."""
        c = self._config
        while self._waiting:
            first = self._waiting[0]
            if stamp_ns - first.stamp_ns < c.loop_min_gap_s * 1e9:
                return
            if travelled_m is not None and travelled_m - first.travelled_m < c.loop_min_travel_m:
                return
            yield self._waiting.popleft()

    def all(self) -> Iterator[RecentKeyframe]:
        """Takes out every one."""
        while self._waiting:
            yield self._waiting.popleft()

    def clock_went_back(self, stamp_ns: int) -> None:
        """Keyframes of a drive whose time has been turned back can no longer be told by their age."""
        for keyframe in self._waiting:
            keyframe.stamp_ns = min(keyframe.stamp_ns, stamp_ns)
