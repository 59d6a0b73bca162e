"""Localisation: observations in, recognitions out, against a finished map."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.observation import Observation
from vpr_ros.recognition.calibration import Calibration, choose_calibration
from vpr_ros.recognition.mapper import described, require_same_model
from vpr_ros.recognition.recogniser import Recogniser, RecognitionConfig
from vpr_ros.recognition.types import Recognition


class Localizer:
    """Extractor and recogniser over one map; the observation's `T_map_base` is never looked at.

    The calibration in force is the one given, else the map's, else the checkpoint's, else the default. Raises VprError
    for a map of another model and for an empty one.
    """

    def __init__(
        self,
        extractor: Any,
        place_map: Any,
        config: RecognitionConfig | None = None,
        calibration: Calibration | None = None,
    ):
        require_same_model(extractor, place_map)
        if len(place_map) == 0:
            raise VprError(f"map {place_map.path} has no keyframes: map a drive into it first")
        if calibration is None:
            own, shipped = place_map.get_calibration(), getattr(extractor, "calibration", None)
            calibration = choose_calibration(own, shipped, place_map.place_radius_m)
        self.extractor = extractor
        self.calibration = calibration
        self.recogniser = Recogniser.of_map(place_map, calibration, config)

    def process(self, observation: Observation) -> Recognition:
        """Answers one frame. Raises FrameError for one that is unusable; the next frame goes on from the last good
        one."""
        return self.take(observation, self.extractor.describe([observation.image])[0])

    def take(self, observation: Observation, descriptor: np.ndarray) -> Recognition:
        """As `process`, for an image described already: `descriptor` (dim,)."""
        return self.recogniser.recognise(observation.stamp_ns, descriptor, observation.T_odom_base)

    def process_batch(self, observations: Sequence[Observation]) -> Iterator[Recognition | FrameError]:
        """Answers in order; images are described together and recognised one by one, as in `process`.

        A frame that `process` would refuse yields its FrameError instead, so that the rest of the batch goes on.
        """
        for observation, descriptor in described(self.extractor, observations):
            try:
                if isinstance(descriptor, FrameError):
                    raise descriptor
                yield self.take(observation, descriptor)
            except FrameError as error:
                yield error
