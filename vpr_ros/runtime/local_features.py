"""The local features of the frames that a pipeline answers: which kind, made once a frame, when somebody asks."""

import time
from dataclasses import dataclass, replace

from vpr_ros.errors import VprError
from vpr_ros.local_features import LocalExtractor, LocalFeatures, open_local_features
from vpr_ros.local_features.depth import depth_from_cloud, depth_from_image
from vpr_ros.local_features.opening import kind_of, xfeat_advice, xfeat_missing
from vpr_ros.observation import Observation
from vpr_ros.place_map import PlaceMap
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.settings import PipelineConfig

_NAMES = {"xfeat": "XFeat", "sift": "SIFT"}


@dataclass(frozen=True)
class OpenedFeatures:
    """What makes local features, None where nothing does, and a sentence about the choice, with what to do."""

    extractor: LocalExtractor | None
    sentence: str


class FrameFeatures:
    """The local features of one frame: made at the first `get`, and once. For the worker's thread."""

    def __init__(self, observation: Observation, extractor: LocalExtractor | None, health: Health):
        self._observation, self._extractor, self._health = observation, extractor, health
        self._found: LocalFeatures | None = None

    def get(self) -> LocalFeatures | None:
        """With the camera of the frame where it is known, without depth; None where no features are in use."""
        if self._found is None and self._extractor is not None:
            started = time.perf_counter()
            (found,) = self._extractor.extract([self._observation.whole_image()])
            one = self._observation
            self._found = replace(found, camera=one.camera, T_base_camera=one.T_base_camera)
            self._health.timed("local features", time.perf_counter() - started)
        return self._found

    def with_depth(self) -> LocalFeatures | None:
        """Those of `get` with the depth that the frame's depth image tells, and its cloud where that does not."""
        found, one = self.get(), self._observation
        if found is None or (one.depth is None and one.cloud is None):
            return found
        started = time.perf_counter()
        if one.depth is not None:
            found = found.completed(depth_from_image(found, one.depth))
        if one.cloud is not None:
            found = found.completed(depth_from_cloud(found, one.cloud))
        self._health.timed("depth", time.perf_counter() - started)
        return found


def open_features(config: PipelineConfig, place_map: PlaceMap, device: str) -> OpenedFeatures:
    """The extractor of a pipeline on `device`: of the map's kind where it has one.

    Without such an extractor a map that has features works as one without. VprError where another kind was asked for
    by name than the map's, and as `open_local_features`.
    """
    choice, known = config.local_features, place_map.local_features
    kind = kind_of(choice)
    if kind is None:
        return OpenedFeatures(None, "no local features, as local_features says")
    if known is None and config.mode == "localize":
        return OpenedFeatures(None, "no local features: the map has none")
    if known is not None and kind not in ("auto", known):
        raise VprError(
            f"map {place_map.path} has local features of the kind {known}, with which {kind} cannot be compared: "
            "set local_features to auto, or make them anew with "
            f"`vpr_ros redescribe {place_map.path} --features {kind}`"
        )
    if known is not None and kind == "auto":
        choice = known
    try:
        extractor = open_local_features(choice, device)
    except VprError as error:
        if config.local_features != "auto":
            raise
        return OpenedFeatures(None, f"the map's local features are not used: {error}")
    assert extractor is not None
    sentence = f"local features: {_NAMES.get(extractor.kind, extractor.kind)}"
    if known is None and kind == "auto" and extractor.kind != "xfeat":
        sentence += f"; {xfeat_advice(xfeat_missing())}"
    return OpenedFeatures(extractor, sentence)
