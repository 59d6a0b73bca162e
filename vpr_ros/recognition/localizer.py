"""Localisation: described observations in, recognitions out, against a finished map."""

from collections.abc import Callable

import numpy as np

from vpr_ros.configuration import RecognitionConfig
from vpr_ros.errors import VprError
from vpr_ros.local_features import LocalFeatures
from vpr_ros.observation import Observation
from vpr_ros.place_map import Describer, PlaceMap
from vpr_ros.place_map.describer import require_same_model
from vpr_ros.recognition.calibration import Calibration, choose_calibration
from vpr_ros.recognition.local.comparing import LocalEvidence
from vpr_ros.recognition.recogniser import Recogniser
from vpr_ros.recognition.types import Recognition


class Localizer:
    """A recogniser over one map; the observation's `T_map_base` is never read.

    The calibration in force is the one given, else the map's, else the checkpoint's, else the default. Raises VprError
    for a map of another model and for an empty one. `local` compares local features, where the calibration weighs such.
    """

    def __init__(
        self,
        extractor: Describer,
        place_map: PlaceMap,
        config: RecognitionConfig | None = None,
        calibration: Calibration | None = None,
        local: LocalEvidence | None = None,
    ):
        require_same_model(extractor, place_map)
        if len(place_map) == 0:
            raise VprError(f"map {place_map.path} has no keyframes: map a drive into it first")
        if calibration is None:
            own, shipped = place_map.get_calibration(), extractor.calibration
            calibration = choose_calibration(own, shipped, place_map.place_radius_m)
        self.recogniser = Recogniser.of_map(place_map, calibration, config, local)

    def take(
        self,
        observation: Observation,
        descriptor: np.ndarray,
        features: Callable[[], LocalFeatures | None] | None = None,
    ) -> Recognition:
        """Answers one frame, of which `descriptor` (dim,) is the image's; its `features` are asked for while unsure.

        Raises FrameError for one that is unusable; the next frame goes on from the last good one.
        """
        return self.recogniser.recognise(observation.stamp_ns, descriptor, observation.T_odom_base, features)
