"""The depth image of an image's time, aligned with it."""

from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import Image

from vpr_ros.nodes.inputs.nearest import NearestTopic
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.input_settings import InputSettings
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.depth_images import MAX_DEPTH_GAP_S, aligned_depth

_QUEUE = 5


class DepthTopic(NearestTopic):
    """The newest images of `depth`; `at` is for one worker thread."""

    def __init__(self, node, settings: InputSettings, health: Health, arrivals: Arrivals):
        super().__init__(node, Image, "depth", "depth image", settings.image_reliability, 0.0, health, arrivals, _QUEUE)

    def at(self, stamp: int, size: tuple[int, int], expired: Callable[[], bool], timeout_s: float) -> np.ndarray | None:
        """Depth (H, W) in metres of the image nearest to a stamp, for pictures of `size` (width, height), else None.

        Waits for the one after the stamp while images flow. What cannot be used is counted.
        """
        nearest = self.nearest(stamp, expired, timeout_s)
        if nearest is None:
            return None
        if abs(nearest.stamp_ns - stamp) > MAX_DEPTH_GAP_S * 1e9:
            away_s = abs(nearest.stamp_ns - stamp) * 1e-9
            sentence = f"the nearest depth image is {away_s:.2f} s from the image, more than {MAX_DEPTH_GAP_S:g} s"
            self._health.count("input", "no depth image", sentence)
            return None
        return aligned_depth(nearest.msg, size, lambda reason, sentence: self._health.count("input", reason, sentence))
