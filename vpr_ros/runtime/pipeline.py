"""The node's core without ROS: model and map, one answer per observation, and what the services ask for."""

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.configuration import DecisionConfig
from vpr_ros.errors import VprError
from vpr_ros.geometry import invert
from vpr_ros.observation import Observation
from vpr_ros.place_map import Keyframes, MountedCamera, PlaceMap
from vpr_ros.recognition import Localizer, Mapper, MapperConfig, Recognition
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.settings import PLACE_RADIUS_FRAMES, PLACE_RADIUS_M, Mode, PipelineConfig
from vpr_ros.student import DescriptorExtractor
from vpr_ros.verification import Verified, verify_clouds


@dataclass(frozen=True)
class Answer:
    """What became of one image."""

    observation: Observation
    recognition: Recognition | None = None  # None in mode map
    keyframe_id: int | None = None  # the keyframe that it became
    reason: str = ""  # why it became one, or did not; empty in mode localize
    verified: Verified | None = None  # LiDAR registration of the accepted match, where it was asked for


class Pipeline:
    """Model, map and recogniser between configure and cleanup.

    One worker calls `process` and `idle`; the other methods may be called from any thread and wait for a search or a
    write at most, never for the network.
    """

    def __init__(self, config: PipelineConfig, extractor: Any, place_map: PlaceMap, health: Health, created: bool):
        self.config, self.place_map, self.health = config, place_map, health
        self.extractor: Any = extractor
        self.mode: Mode = config.mode
        self._created = created
        self._lock = threading.RLock()
        self._drive = 1
        self.saved = 0  # keyframes that this node has made durable
        self.localizer: Localizer | None = None
        self.mapper: Mapper | None = None
        self._mapping = True
        place_map.on_saved = self._on_saved
        if self.mode == "localize":
            self.localizer = Localizer(extractor, place_map, config.recognition)
        elif len(place_map):
            self.mapper = self._new_mapper()
        extractor.describe([np.zeros((64, 64, 3), np.uint8)])  # the first pass is slow: here, not on the first image
        if config.verify:
            verify_clouds(np.zeros((0, 3)), np.zeros((0, 3)))  # tells at once that Open3D is missing

    @classmethod
    def open(cls, config: PipelineConfig, health: Health) -> "Pipeline":
        """Loads the checkpoint and the map that are configured; raises VprError in one sentence.

        In the modes map and slam a missing map is made.
        """
        if not config.map_path:
            raise VprError("parameter map_path is empty: name the map file")
        path = Path(config.map_path).expanduser()
        if config.threads:
            import torch

            torch.set_num_threads(config.threads)
        extractor = DescriptorExtractor.from_checkpoint(config.checkpoint, config.device, config.precision)
        model = {"fingerprint": extractor.fingerprint, "dim": extractor.dim, "model_name": extractor.name}
        writable, created = config.mode != "localize", False
        if writable and not path.exists():
            created = True
            place_map = PlaceMap.create(
                path,
                preprocessing=extractor.preprocessing,
                frame_id=config.map_frame,
                place_radius_m=config.place_radius or PLACE_RADIUS_M,
                **model,
            )
        else:
            place_map = PlaceMap.open(path, writable=writable, **model)
        try:
            return cls(config, extractor, place_map, health, created)
        except BaseException:
            _close(place_map, created)
            raise

    @property
    def recogniser(self):
        """The recogniser in use; None in mode map and before the first frame of a new map."""
        owner = self.localizer or self.mapper
        return None if owner is None else owner.recogniser

    @property
    def session(self) -> int | None:
        """The current drive's session in the map; None while it has no keyframe and in mode localize."""
        return self.mapper.session if self.mapper is not None else None

    @property
    def calibration(self) -> str:
        """Where the probabilities come from; empty where nothing is recognised."""
        return self.recogniser.calibration.source if self.recogniser is not None else ""

    @property
    def keyframe_count(self) -> int:
        """Keyframes in the map, those not yet durable included."""
        return len(self.place_map)

    @property
    def mapping(self) -> bool:
        """Whether frames become keyframes at present."""
        return self.mode != "localize" and self._mapping

    def process(self, observation: Observation, camera: MountedCamera | None = None) -> Answer:
        """Answers one frame; raises FrameError for one that is unusable.

        `camera` is kept in the map for each new session: another robot's pose needs it.
        """
        started = time.perf_counter()
        descriptor = self.extractor.describe([observation.image])[0]
        described = time.perf_counter()
        self.health.timed("inference", described - started)
        with self._lock:
            answer = self._take(observation, descriptor, camera)
        self.health.timed("search", time.perf_counter() - described)
        return self._verified(answer) if self.config.verify else answer

    def _take(self, observation: Observation, descriptor: np.ndarray, camera: MountedCamera | None) -> Answer:
        if self.localizer is not None:
            return Answer(observation, self.localizer.take(observation, descriptor))
        if self.mapper is None:
            has_pose = observation.T_odom_base is not None or observation.T_map_base is not None
            if not self.config.place_radius and not has_pose:
                self.place_map.set_place_radius(PLACE_RADIUS_FRAMES)
            self.mapper = self._new_mapper()
        before = self.mapper.session
        result = self.mapper.take(observation, descriptor)
        if camera is not None and self.mapper.session is not None and self.mapper.session != before:
            self.place_map.set_camera(self.mapper.session, camera)
        return Answer(observation, result.recognition, result.keyframe_id, result.reason)

    def _verified(self, answer: Answer) -> Answer:
        match = answer.recognition.match if answer.recognition is not None else None
        if match is None:
            return answer
        cloud = self.place_map.cloud(match.keyframe_id)
        if answer.observation.cloud is None or cloud is None:
            side = "the image has" if answer.observation.cloud is None else f"keyframe {match.keyframe_id} has"
            self.health.count("verification", "no cloud", f"a match was not verified: {side} no LiDAR cloud")
            return answer
        started = time.perf_counter()
        verified = verify_clouds(answer.observation.cloud, cloud)
        self.health.timed("verification", time.perf_counter() - started)
        self.health.count("verification", verified.reason)
        return Answer(answer.observation, answer.recognition, answer.keyframe_id, answer.reason, verified)

    def T_map_query(self, answer: Answer, camera: MountedCamera | None = None) -> tuple[np.ndarray, np.ndarray] | None:
        """Pose (4, 4) of the query's base in the map and its covariance (6, 6), for an accepted match with a map pose.

        A registration gives the pose itself. Without one it is the keyframe's, as wide as a place; where both cameras'
        mountings are known, it is the pose from which this robot's camera stands where the map's stood.
        """
        match = answer.recognition.match if answer.recognition is not None else None
        if match is None or match.T_map_base is None:
            return None
        T, verified = match.T_map_base, answer.verified
        if verified is not None and verified.accepted:
            assert verified.T_keyframe_query is not None and verified.covariance is not None
            turn = np.kron(np.eye(2), T[:3, :3])  # positions and rotations alike, from the keyframe's axes to the map's
            return T @ verified.T_keyframe_query, turn @ verified.covariance @ turn.T
        recogniser = self.recogniser
        assert recogniser is not None
        mapped = self.place_map.cameras.get(int(recogniser.topology.sessions[match.row]))
        if camera is not None and camera.T_base_camera is not None and mapped is not None:
            if mapped.T_base_camera is not None:
                T = T @ mapped.T_base_camera @ invert(camera.T_base_camera)
        return T, place_covariance(recogniser.topology.radius)

    def keyframes(self, after: int = 0) -> Keyframes:
        """Keyframes with an id above `after`."""
        return self.place_map.poses(after)

    def set_decision(self, decision: DecisionConfig) -> None:
        """Other rules of acceptance from the next image on."""
        with self._lock:
            self.config = replace(self.config, recognition=replace(self.config.recognition, decision=decision))
            if self.recogniser is not None:
                self.recogniser.set_decision(decision)

    def idle(self) -> None:
        """To be called at least once a second: pending keyframes become durable."""
        self.place_map.commit_if_due()

    def relocalize(self) -> str:
        """Forgets where the robot was; returns a sentence."""
        with self._lock:
            if self.mode == "map":
                raise VprError("mode 'map' recognises nothing: use mode 'localize' or 'slam'")
            if self.recogniser is not None:
                self.recogniser.reset("relocalisation was asked for")
        return "the position is forgotten; the first accepted place is published once on ~/initial_pose"

    def save(self) -> str:
        """Makes all keyframes durable; returns a sentence."""
        if self.mode == "localize":
            raise VprError("mode 'localize' only reads the map: there is nothing to save")
        with self._lock:
            self.place_map.flush()
        return f"{len(self.place_map)} keyframes are saved in {self.place_map.path}"

    def clear_session(self) -> str:
        """Ends the drive; the map keeps it. Returns a sentence."""
        with self._lock:
            if self.mapper is not None:
                self._drive += 1
                self.mapper.begin_session(self._session_name())
                self.place_map.flush()
                return "the drive is over: the next keyframe begins a new session of the map"
            if self.recogniser is not None:
                self.recogniser.reset("the session was cleared")
        return "the next image begins a new drive"

    def set_mapping(self, on: bool) -> str:
        """Goes on or stops making keyframes; returns a sentence."""
        if self.mode == "localize":
            raise VprError("mode 'localize' only reads the map: configure the node with mode 'map' or 'slam'")
        with self._lock:
            self._mapping = on
            if self.mapper is not None:
                self.mapper.paused = not on
        return "frames become keyframes" if on else "no frame becomes a keyframe until mapping is switched on again"

    def close(self) -> None:
        """Saves and closes the map, and lets go of the model."""
        with self._lock:
            try:
                _close(self.place_map, self._created)
            finally:
                self.localizer = self.mapper = self.extractor = None

    def _new_mapper(self) -> Mapper:
        config = MapperConfig(gate=self.config.gate, recognition=self.config.recognition, slam=self.mode == "slam")
        mapper = Mapper(self.extractor, self.place_map, self._session_name(), config, source=self.config.source)
        mapper.paused = not self._mapping
        return mapper

    def _session_name(self) -> str:
        name = self.config.session or time.strftime("%Y-%m-%d %H:%M:%S")
        return name if self._drive == 1 else f"{name} ({self._drive})"

    def _on_saved(self, ids: list[int]) -> None:
        self.saved += len(ids)


def place_covariance(radius_m: float) -> np.ndarray:
    """Covariance (6, 6) of "somewhere in this place": x y z rotX rotY rotZ.

    Variance of a uniform disc on the ground; retrieval says little of height and heading.
    """
    ground, height, tilt, heading = radius_m**2 / 4, 4 * radius_m**2, 0.3**2, 0.5**2
    return np.diag([ground, ground, height, tilt, tilt, heading])


def _close(place_map: PlaceMap, created: bool) -> None:
    empty = created and len(place_map) == 0
    place_map.close()
    if empty:
        place_map.path.unlink(missing_ok=True)  # a map that nobody drove into is no map
