"""Network, map and recogniser between configure and cleanup: one answer per image, live and offline."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from vpr_ros.configuration import DecisionConfig
from vpr_ros.errors import FrameError, VprError
from vpr_ros.observation import Observation, Rotation
from vpr_ros.place_map import Keyframes, MountedCamera, PlaceMap
from vpr_ros.place_map.describer import Described, described
from vpr_ros.recognition import Localizer, Mapper, MapperConfig, Recogniser
from vpr_ros.recognition.calibration import Source
from vpr_ros.recognition.local.comparing import LocalEvidence
from vpr_ros.recognition.types import Recognition
from vpr_ros.runtime.answer import Answer, query_pose
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.local_features import FrameFeatures, OpenedFeatures, open_features
from vpr_ros.runtime.map_on_disk import MapOnDisk
from vpr_ros.runtime.opening import DriveFacts, Extractor, OpenedMap, load_extractor, new_place_radius, open_map
from vpr_ros.runtime.settings import Mode, PipelineConfig
from vpr_ros.runtime.verification import Verifier
from vpr_ros.sensors.stamps import begins_anew, jump_text
from vpr_ros.verification import Verified


class Pipeline:
    """One worker calls `process` (or `process_batch`), `verified`, `ask` and `idle`; the others are for any thread.

    They wait for a search or a write at most, never for the network. Made by `open`; a context manager.
    """

    def __init__(
        self,
        config: PipelineConfig,
        extractor: Extractor,
        opened: OpenedMap,
        health: Health,
        facts: DriveFacts,
        features: OpenedFeatures,
    ):
        self.config, self.extractor, self.health = config, extractor, health
        self.mode: Mode = config.mode
        self.place_map: PlaceMap = opened.place_map
        self.on_disk = MapOnDisk(self.place_map)
        self.features: OpenedFeatures = features
        self._verifier = None if config.verify == "none" else Verifier(opened.place_map, config.verify)
        self.saved = 0  # keyframes that this pipeline has made durable
        self._opened, self._facts = opened, facts
        self._lock = threading.RLock()
        self._drive = 1
        self._last_ns: int | None = None  # of the frames that were mapped
        self._mapping = True
        self._kept_camera: tuple[int, Rotation, tuple[bool, bool]] | None = None  # session, rotation, what was known
        self._localizer: Localizer | None = None
        self._mapper: Mapper | None = None
        self._asked: Localizer | None = None  # of `ask`; made at the first use, since it holds the map a second time
        self.place_map.on_saved = self._on_saved
        if self.mode == "localize":
            self._localizer = self._new_localizer()
        elif len(self.place_map):
            self._mapper = self._new_mapper()

    @classmethod
    def open(
        cls,
        config: PipelineConfig,
        health: Health,
        extractor: Extractor | None = None,
        facts: DriveFacts | None = None,
    ) -> "Pipeline":
        """Loads the checkpoint, unless an extractor is given, and opens the map; raises VprError in one sentence.

        In the modes map and slam a missing map is made; `facts` are what is known of its drive beforehand.
        """
        if not config.map_path:
            raise VprError("parameter map_path is empty: name the map file")
        facts, extractor = facts or DriveFacts(), extractor or load_extractor(config)
        opened = open_map(config, extractor, facts)
        try:
            features = open_features(config, opened.place_map, str(extractor.device))
            return cls(config, extractor, opened, health, facts, features)
        except BaseException:
            opened.close()
            raise

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def warm_up(self) -> None:
        """Takes the networks' slow first pass before any image; VprError as `require_verifiable`."""
        self.extractor.describe([np.zeros((64, 64, 3), np.uint8)])
        if self.features.extractor is not None:
            self.features.extractor.extract([np.zeros((64, 64, 3), np.uint8)])
        self.require_verifiable()

    def require_verifiable(self) -> None:
        """VprError where matches shall be verified and never can be."""
        if self._verifier is not None:
            self._verifier.require("" if self.features.extractor is not None else self.features.sentence)

    # State

    @property
    def recogniser(self) -> Recogniser | None:
        """The recogniser in use; None in mode map and before the first frame of a new map."""
        owner = self._localizer or self._mapper
        return None if owner is None else owner.recogniser

    @property
    def session(self) -> int | None:
        """The current drive's session in the map; None while it has no keyframe and in mode localize."""
        return self._mapper.session if self._mapper is not None else None

    @property
    def calibration(self) -> Source | None:
        """Where the probabilities come from; None where nothing is recognised."""
        return self.recogniser.calibration.source if self.recogniser is not None else None

    @property
    def keyframe_count(self) -> int:
        """Keyframes in the map, those not yet durable included; in mode localize those that were loaded."""
        return len(self._localizer.recogniser) if self._localizer is not None else len(self.place_map)

    @property
    def mapping(self) -> bool:
        """Whether frames become keyframes at present."""
        return self.mode != "localize" and self._mapping

    def keyframes(self, after: int = 0) -> Keyframes:
        """Keyframes with an id above `after`."""
        return self.place_map.poses(after)

    # The worker's

    def process(self, observation: Observation) -> Answer:
        """Answers one frame; raises FrameError for one that is unusable.

        How its camera is mounted is kept in the map for each new session: another robot's pose needs it.
        """
        (answer,) = self.process_batch([observation])
        if isinstance(answer, FrameError):
            raise answer
        return answer

    def process_batch(self, observations: Sequence[Observation]) -> Iterator[Answer | FrameError]:
        """Answers in order; images are described together and answered one by one, as in `process`.

        A frame that `process` would refuse yields its FrameError instead, so that the rest of the batch goes on.
        """
        yield from self.answer(self.describe(observations))

    def describe(self, observations: Sequence[Observation]) -> list[Described]:
        """The first half of `process_batch`, for one thread, which may be ahead of the one that answers."""
        started = time.perf_counter()
        frames = list(described(self.extractor, observations))
        for _, descriptor in frames:
            if not isinstance(descriptor, FrameError):
                self.health.timed("inference", (time.perf_counter() - started) / len(frames))
        return frames

    def answer(self, frames: Sequence[Described]) -> Iterator[Answer | FrameError]:
        """The second half: answers to what `describe` returned, in the order of the drive."""
        for observation, descriptor in frames:
            try:
                yield descriptor if isinstance(descriptor, FrameError) else self._answer(observation, descriptor)
            except FrameError as error:
                yield error

    def ask(self, observation: Observation) -> Recognition:
        """Answers one picture by itself, as the first of a drive of its own: the drive that goes on is not disturbed.

        A place needs no second frame to agree. FrameError: unusable; VprError in the modes that write the map.
        """
        if self.mode != "localize":
            raise VprError(f"mode '{self.mode}' answers its own drive only: single pictures are for mode 'localize'")
        ((_, descriptor),) = described(self.extractor, [observation])
        if isinstance(descriptor, FrameError):
            raise descriptor
        config = self.config.recognition
        with self._lock:
            if self._asked is None:
                self._asked = self._new_localizer()
            self._asked.recogniser.set_decision(replace(config.decision, min_consistent_frames=1))
            self._asked.recogniser.new_drive("")
            features = FrameFeatures(observation, self.features.extractor, self.health)
            return self._asked.take(observation, descriptor, features.get)

    def verified(self, answer: Answer) -> Answer:
        """The answer with what the geometry says of its match, where that was asked for and there is something to
        compare. It takes longer than the answer itself, which need not wait for it. VprError for a damaged map."""
        recogniser, match = self.recogniser, answer.match
        if self._verifier is None or recogniser is None or match is None:
            return answer
        started = time.perf_counter()
        found = self._verifier.verify(answer, recogniser.topology)
        if isinstance(found, Verified):
            self.health.timed("verification", time.perf_counter() - started)
            self.health.count("verification", f"{found.method}: {found.reason}")
            return replace(answer, verified=found)
        sentence = f"a match was not verified: {found} (keyframe {match.keyframe_id})"
        self.health.count("verification", found, sentence)
        return answer

    def idle(self) -> None:
        """To be called at least once a second: pending keyframes become durable, and the map's file is looked at."""
        self.place_map.commit_if_due()
        self.on_disk.look()

    def T_map_query(self, answer: Answer) -> tuple[np.ndarray, np.ndarray] | None:
        """The query's pose in the map and its covariance, as `query_pose`."""
        recogniser, match = self.recogniser, answer.match
        if recogniser is None or match is None:
            return None
        mapped = self.place_map.cameras.get(int(recogniser.topology.sessions[match.row]))
        return query_pose(answer, recogniser.topology.radius, mapped, MountedCamera.of(answer.observation))

    def _answer(self, observation: Observation, descriptor: np.ndarray) -> Answer:
        started = time.perf_counter()
        with self._lock:
            answer = self._take(observation, descriptor)
        self.health.timed("search", time.perf_counter() - started)
        return answer

    def _take(self, observation: Observation, descriptor: np.ndarray) -> Answer:
        features = FrameFeatures(observation, self.features.extractor, self.health)
        if self._localizer is not None:
            return Answer(observation, self._localizer.take(observation, descriptor, features.get), features=features)
        if self._mapper is None:
            if self._facts.has_poses is None:
                has_poses = observation.T_odom_base is not None or observation.T_map_base is not None
                if not has_poses and not self.config.place_radius:
                    self.place_map.set_place_radius(new_place_radius(self.config, has_poses))
            self._mapper = self._new_mapper()
        last, self._last_ns = self._last_ns, observation.stamp_ns
        if last is not None and begins_anew(last, observation.stamp_ns):
            self._begin_session(f"the clock went {jump_text(last, observation.stamp_ns)}, a new session begins")
        result = self._mapper.take(observation, descriptor, features.with_depth)
        self._keep_camera(self._mapper.session, observation)
        return Answer(observation, result.recognition, result.keyframe_id, result.reason, features=features)

    def _keep_camera(self, session: int | None, observation: Observation) -> None:
        """Once a session, and again where TF or CameraInfo came too late for its first pictures."""
        camera = MountedCamera.of(observation)
        if camera is None or session is None:
            return
        told = camera.T_base_camera is not None, camera.hfov_deg is not None
        kept = self._kept_camera
        if kept is None or kept[:2] != (session, camera.rotation) or sum(told) > sum(kept[2]):
            self.place_map.set_camera(session, camera)
            self._kept_camera = session, camera.rotation, told

    # Services

    def set_decision(self, decision: DecisionConfig) -> None:
        """Other rules of acceptance from the next image on; VprError, and the old ones, where they cannot be kept."""
        with self._lock:
            if self.recogniser is not None:
                self.recogniser.set_decision(decision)
            self.config = replace(self.config, recognition=replace(self.config.recognition, decision=decision))

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
            if self._mapper is not None:
                self._begin_session("a new drive begins")
                self.place_map.flush()
                return "the drive is over: the next keyframe begins a new session of the map"
            if self.recogniser is not None:
                self.recogniser.new_drive("the session was cleared")
        return "the next image begins a new drive"

    def set_mapping(self, on: bool) -> str:
        """Goes on or stops making keyframes; returns a sentence."""
        if self.mode == "localize":
            raise VprError("mode 'localize' only reads the map: configure the node with mode 'map' or 'slam'")
        with self._lock:
            self._mapping = on
            if self._mapper is not None:
                self._mapper.paused = not on
        return "frames become keyframes" if on else "no frame becomes a keyframe until mapping is switched on again"

    def close(self) -> None:
        """Saves and closes the map, which is removed if it is new and empty, and releases the recogniser."""
        with self._lock:
            try:
                self._opened.close()
            finally:
                self._localizer = self._mapper = self._asked = None

    def _new_localizer(self) -> Localizer:
        return Localizer(self.extractor, self.place_map, self.config.recognition, local=self._local_evidence())

    def _local_evidence(self) -> LocalEvidence | None:
        extractor, most = self.features.extractor, self.config.recognition.local_candidates
        if extractor is None or not most:
            return None
        count = partial(self.health.count, "matching")
        return LocalEvidence(extractor.kind, self.place_map.features, most, self.config.local_budget_s or None, count)

    def _new_mapper(self) -> Mapper:
        config = MapperConfig(
            gate=self.config.gate,
            recognition=self.config.recognition,
            slam=self.mode == "slam",
            map_from_odometry=self.config.map_from_odometry,
            # A registration with the drive's own past needs the clouds of both sides.
            keep_clouds=self.config.keep_clouds or self.config.verify in ("lidar", "auto"),
        )
        name, source, local = self._session_name(), self.config.source, self._local_evidence()
        mapper = Mapper(self.extractor, self.place_map, name, config, source=source, local=local)
        mapper.paused = not self._mapping
        return mapper

    def _begin_session(self, reason: str) -> None:
        assert self._mapper is not None
        self._drive += 1
        self._mapper.begin_session(self._session_name(), reason)

    def _session_name(self) -> str:
        name = self.config.session or time.strftime("%Y-%m-%d %H:%M:%S")
        return name if self._drive == 1 else f"{name} ({self._drive})"

    def _on_saved(self, ids: list[int]) -> None:
        self.saved += len(ids)
