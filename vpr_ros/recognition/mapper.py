"""Mapping: observations in, keyframes of a place map out; in slam mode also what the drive recognises of the map and
itself."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from vpr_ros.configuration import GateConfig, RecognitionConfig
from vpr_ros.errors import FrameError
from vpr_ros.local_features import LocalFeatures
from vpr_ros.local_features.triangulation import Triangulator
from vpr_ros.observation import Observation
from vpr_ros.pictures import encode
from vpr_ros.place_map import Describer, DriveStatistics, KeyframeGate, PlaceMap
from vpr_ros.place_map.describer import require_same_model
from vpr_ros.place_map.gating import GateReason
from vpr_ros.recognition.calibration import Calibration, choose_calibration
from vpr_ros.recognition.evidence import Novelty
from vpr_ros.recognition.local.comparing import LocalEvidence
from vpr_ros.recognition.mapping import KnownPlaces
from vpr_ros.recognition.recogniser import Recogniser
from vpr_ros.recognition.types import Recognition

FrameReason = Literal[GateReason, "mapping is paused", "known view"]


@dataclass(frozen=True)
class MapperConfig:
    """What a drive leaves in the map."""

    gate: GateConfig = field(default_factory=GateConfig)
    recognition: RecognitionConfig = field(default_factory=RecognitionConfig)
    slam: bool = False  # also match the drive against the map and its own past
    map_from_odometry: bool = True  # an empty map without map poses takes the first drive's odometry frame as its own
    keep_clouds: bool = False  # of each keyframe
    jpeg_quality: int = 90


@dataclass(frozen=True, slots=True)
class MapperResult:
    """What became of one frame: the new keyframe's id or None, why, and in slam mode the recognition."""

    stamp_ns: int
    keyframe_id: int | None
    reason: FrameReason
    recognition: Recognition | None


class Mapper:
    """One drive into one map.

    `extractor` is the model that makes the descriptors, `place_map` is open for writing. `take` is for one thread and
    in stamp order. A frame is searched before it is inserted, so it never finds itself. The drive's session
    begins with its first keyframe, or the first that the map knew already: a drive without one leaves nothing in the
    map. With `paused`, frames are recognised (slam) but none becomes a keyframe.
    """

    def __init__(
        self,
        extractor: Describer,
        place_map: PlaceMap,
        session_name: str,
        config: MapperConfig | None = None,
        *,
        source: str = "",
        calibration: Calibration | None = None,
        local: LocalEvidence | None = None,
    ):
        self.extractor = extractor
        self.place_map = place_map
        self.config = config or MapperConfig()
        require_same_model(extractor, place_map)
        # Read before this drive adds to it: only an empty map has no frame of its own yet.
        self._adopts_odometry = self.config.map_from_odometry and len(place_map) == 0
        self._calibration = calibration
        self.recogniser: Recogniser | None = None
        if self.config.slam:
            self.recogniser = Recogniser.of_map(place_map, self._in_force(), self.config.recognition, local)
        self._known = self._known_places()
        self.session: int | None = None
        self.paused = False
        self._session = session_name, source
        self._gate = KeyframeGate(self.config.gate)
        # What `every_n` keeps of a standing robot is no new content.
        self._moved = KeyframeGate(replace(self.config.gate, every_n=None))
        self._novelty = Novelty()
        self._statistics = DriveStatistics.none(extractor.dim)
        self._triangulator = Triangulator()

    def begin_session(self, session_name: str, reason: str = "a new drive begins") -> None:
        """The drive so far is over: the next keyframe opens a new session, and all before it may be recognised.

        In slam mode the next answer's note tells `reason`.
        """
        self.session, self._session = None, (session_name, self._session[1])
        self._gate.reset()
        self._moved.reset()
        self._novelty.reset()
        self._triangulator.reset()
        self._known = self._known_places()
        self._statistics = DriveStatistics.none(self.extractor.dim)
        if self.recogniser is not None:
            self.recogniser.end_session(reason)

    def take(
        self,
        observation: Observation,
        descriptor: np.ndarray,
        features: Callable[[], LocalFeatures | None] = lambda: None,
    ) -> MapperResult:
        """Takes in one frame, of which `descriptor` (dim,) is the image's; its `features` are asked for where it
        becomes a keyframe.

        Raises FrameError for one that is unusable; the map is then unchanged.
        """
        recognition = None
        if self.recogniser is not None:
            recognition = self.recogniser.recognise(observation.stamp_ns, descriptor, observation.T_odom_base, features)
        if not np.isfinite(np.asarray(descriptor, dtype=np.float32)).all():
            raise FrameError("the descriptor is not finite: the frame is skipped")
        if self.paused:
            return MapperResult(observation.stamp_ns, None, "mapping is paused", recognition)
        observation = self._with_map_pose(_without_bad_poses(observation))
        keep, reason = self._gate.decide(observation.T_odom_base, observation.T_map_base, descriptor)
        if not keep:
            return MapperResult(observation.stamp_ns, None, reason, recognition)
        if self.session is None:
            self.session = int(self.place_map.start_session(*self._session))
        session, content = self.session, self._content(observation, descriptor)
        if self._is_known(observation.T_map_base, descriptor, content):
            self._with_depth(features(), observation.T_odom_base)  # of which the next keyframe's depth is triangulated
            self.place_map.pass_over(session, observation.stamp_ns, descriptor, content)
            self._statistics = self._statistics.plus(descriptor, content)
            return MapperResult(observation.stamp_ns, None, "known view", recognition)
        keyframe_id = self.place_map.add(
            session,
            observation.stamp_ns,
            descriptor,
            T_odom_base=observation.T_odom_base,
            T_map_base=observation.T_map_base,
            covariance=observation.covariance,
            thumbnail=encode(self._network_input(observation), quality=self.config.jpeg_quality),
            cloud=observation.cloud if self.config.keep_clouds else None,
            content=content,
            features=self._with_depth(features(), observation.T_odom_base),
        )
        self._statistics = self._statistics.plus(descriptor, content)
        if self.recogniser is not None:
            T_odom, T_map = observation.T_odom_base, observation.T_map_base
            self.recogniser.insert(keyframe_id, session, observation.stamp_ns, descriptor, T_odom, T_map, content)
        return MapperResult(observation.stamp_ns, keyframe_id, reason, recognition)

    def _network_input(self, observation: Observation) -> np.ndarray:
        made = observation.network_input
        return self.extractor.prepare(observation.image) if made is None else made

    def _in_force(self) -> Calibration:
        """The calibration that was given, else the map's or the checkpoint's."""
        if self._calibration is None:
            own, shipped = self.place_map.get_calibration(), self.extractor.calibration
            self._calibration = choose_calibration(own, shipped, self.place_map.place_radius_m)
        return self._calibration

    def _known_places(self) -> KnownPlaces | None:
        """The map before the drive that begins; None where every keyframe is wanted."""
        gate, recognition = self.config.gate, self.config.recognition
        if gate.known_lead is None or not self.place_map.has_poses:
            return None
        memory_frames = recognition.drive_mean_frames
        return KnownPlaces(
            self.place_map,
            recognition.place_radius or self.place_map.place_radius_m,
            self._in_force().drive_mean_frames if memory_frames is None else memory_frames,
            float(np.radians(gate.heading_deg)),
        )

    def _is_known(self, T_map_base: np.ndarray | None, descriptor: np.ndarray, content: float) -> bool:
        """Whether the map answers a view as well as it shall; the view is taken into the drive's mean."""
        if self._known is None or self.config.gate.known_lead is None:
            return False
        lead = None if T_map_base is None else self._known.lead(T_map_base, descriptor)
        self._known.learn(descriptor, content)
        return lead is not None and lead >= self.config.gate.known_lead

    def _with_depth(self, features: LocalFeatures | None, T_odom_base: np.ndarray | None) -> LocalFeatures | None:
        """A keyframe's features, with depth by triangulation where no sensor told it."""
        if features is None:
            return None
        features = features.completed(self._triangulator.depth(features, T_odom_base))
        self._triangulator.add(features, T_odom_base)
        return features

    def _content(self, observation: Observation, descriptor: np.ndarray) -> float:
        """How much of a keyframe is new, in [0, 1]: by the robot's motion, else by the view.

        Two views of the drive that have nothing in common are as similar as the drive's mean is long, squared; that
        stands for what a map's best keyframe is to a query.
        """
        if observation.T_odom_base is not None or observation.T_map_base is not None:
            return float(self._moved.decide(observation.T_odom_base, observation.T_map_base, descriptor)[0])
        mean, view = self._statistics.mean, np.asarray(descriptor, dtype=np.float32)
        return self._novelty.update(view, float(mean @ mean), lambda one: one)

    def _with_map_pose(self, observation: Observation) -> Observation:
        if observation.T_map_base is not None:
            # A drive that has map poses brings its frame along; odometry must not be mixed into it.
            self._adopts_odometry = False
        elif self._adopts_odometry and observation.T_odom_base is not None:
            return replace(observation, T_map_base=observation.T_odom_base)
        return observation


def _without_bad_poses(observation: Observation) -> Observation:
    return replace(
        observation, T_odom_base=_finite(observation.T_odom_base), T_map_base=_finite(observation.T_map_base)
    )


def _finite(T: np.ndarray | None) -> np.ndarray | None:
    return T if T is not None and np.isfinite(T).all() else None
