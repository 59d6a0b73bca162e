"""Descriptor in, Recognition out, frame by frame. Offline uses the same calls, so its answers are the same."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from vpr_ros.configuration import DecisionConfig, RecognitionConfig
from vpr_ros.errors import FrameError, VprError
from vpr_ros.local_features.features import LocalFeatures
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.statistics import DriveStatistics
from vpr_ros.place_map.store import PlaceMap
from vpr_ros.recognition.calibration import Calibration, EvidenceModel
from vpr_ros.recognition.decision import REASONS, Decision
from vpr_ros.recognition.drive_mean import Centring, DriveMean
from vpr_ros.recognition.evidence import Novelty, Retrieval, Searched, checked, kinds_of_evidence
from vpr_ros.recognition.filter import TopologicalFilter
from vpr_ros.recognition.local.comparing import LocalEvidence
from vpr_ros.recognition.monotone import logit
from vpr_ros.recognition.motion import Motion, MotionTracker
from vpr_ros.recognition.places import FrameEvidence, Place, distinct_places, named, supports
from vpr_ros.recognition.recent import RecentKeyframe, RecentKeyframes
from vpr_ros.recognition.topology import Topology
from vpr_ros.recognition.types import RETRIEVAL_LOGGED, Recognition
from vpr_ros.recognition.yardstick import UntemperedOdds, Yardstick
from vpr_ros.sensors.stamps import begins_anew, jump_text

DEFAULT_RADIUS_M = 10.0  # where neither the configuration nor a map or a calibration has one


class Recogniser:
    """Holds the map's arrays, the search index and the filter.

    `keyframes` are what is searched at the start; None starts empty (then give `dim`). `statistics` are those of their
    sessions, as far as they are known, `parts` the lengths of the descriptors' parts (None: one part). With `local` the
    best keyframes are also matched by local features, where the calibration weighs their kind. `recognise` and `insert`
    are for one thread. In slam mode call `recognise` first, `insert` after: a frame must not find itself.
    """

    def __init__(
        self,
        keyframes: Keyframes | None = None,
        calibration: Calibration | None = None,
        config: RecognitionConfig | None = None,
        *,
        dim: int | None = None,
        parts: tuple[int, ...] | None = None,
        statistics: Mapping[int, DriveStatistics] | None = None,
        cached_in: PlaceMap | None = None,
        local: LocalEvidence | None = None,
    ):
        self.config = config or RecognitionConfig()
        radius = self.config.place_radius
        self.calibration = calibration or Calibration.default(radius or DEFAULT_RADIUS_M)
        self.weighing = self.calibration.in_force(None if local is None else local.kind)
        self.local = None if self.weighing is self.calibration else local
        fc = self.config.filter
        self.topology = Topology(
            keyframes, radius or self.calibration.radius, fc.turn_weight_m, float(np.radians(fc.max_heading_deg))
        )
        n = self.topology.n
        if keyframes is not None and n:
            dim = keyframes.descriptors.shape[1]
        if dim is None:
            raise VprError("a recogniser without keyframes must be told the descriptors' dimension")
        self.dim = int(dim)
        self.parts = parts or (self.dim,)
        if sum(self.parts) != self.dim:
            raise VprError(f"the parts {self.parts} do not make up a descriptor of {self.dim} numbers")
        self.calibration.require(kinds_of_evidence(self.parts))
        memory_frames = self.config.drive_mean_frames
        if memory_frames is None:
            memory_frames = self.calibration.drive_mean_frames
        self._centring = Centring(memory_frames, self.parts, keyframes, statistics or {})
        self.searched = Searched.at_start(keyframes, self._centring, self.config.exact_search_mb, cached_in)
        self._drive: list[RecentKeyframe] = []  # keyframes that this drive has added to the end of the index
        self._centred_at = 0  # their number when they were last centred
        self.filter = TopologicalFilter(self.topology, fc)
        self._motion = MotionTracker(fc.motion, fc.turn_weight_m)
        self._novelty, self._yardstick, self._untempered = Novelty(), Yardstick(), UntemperedOdds()
        self.places: list[Place] = []  # by the last step of the filter, largest posterior first
        self._decision = Decision(self.config.decision)
        self.set_decision(self.config.decision)
        self._recent = RecentKeyframes(self.config)
        self._travelled_m = 0.0
        self.fresh = True  # the filter has no past at the last observed query
        self.reset("")

    @classmethod
    def of_map(
        cls,
        place_map: PlaceMap,
        calibration: Calibration,
        config: RecognitionConfig | None = None,
        local: LocalEvidence | None = None,
    ) -> "Recogniser":
        """Over all keyframes of a map, with its place radius where `config` has none and with its cached index."""
        config = config or RecognitionConfig()
        config = replace(config, place_radius=config.place_radius or place_map.place_radius_m)
        with place_map.reading():  # all of one state, even while another process edits the map
            return cls(
                place_map.keyframes(config.exact_search_mb),
                calibration,
                config,
                dim=place_map.dim,
                parts=place_map.parts,
                statistics=place_map.statistics(),
                cached_in=place_map,
                local=local,
            )

    @property
    def drive_mean(self) -> DriveMean | None:
        """What the current drive's queries are compared without; None where they are compared as they are."""
        return self._centring.drive

    def __len__(self) -> int:
        """Number of keyframes that are searched."""
        return self.topology.n

    def reset(self, reason: str) -> None:
        """Forgets where the robot was; the next answer's note tells `reason`.

        Keyframes stay, and so does the drive's mean: a robot that was carried elsewhere has the same camera and light.
        """
        self.filter.reset()
        self._motion.reset()
        self._decision.reset()
        self._last_ns: int | None = None
        self._novelty.reset()
        self._yardstick.reset()
        self._untempered.reset()
        self.places = []
        self._last_place: int | None = None
        self._moved_m: float | None = None
        self._note = reason

    def new_drive(self, reason: str) -> None:
        """As `reset`, and the mean of the drive so far is forgotten too: of the next, nothing is known yet."""
        self.reset(reason)
        self._centring.new_drive()
        self._yardstick.new_drive()

    def set_decision(self, config: DecisionConfig) -> None:
        """Other rules of acceptance from the next frame on; what the filter believes stays.

        Raises VprError, and changes nothing, for a precision of which the calibration knows nothing.
        """
        accept = [self.weighing.accept_probability(config, with_odometry) for with_odometry in (False, True)]
        self.accept_probabilities = accept[0], accept[1]  # in force without and with odometry
        self.config = replace(self.config, decision=config)
        self._decision.config = config

    def recognise(
        self,
        stamp_ns: int,
        descriptor: np.ndarray,
        T_odom_base: np.ndarray | None = None,
        features: Callable[[], LocalFeatures | None] | None = None,
    ) -> Recognition:
        """Answers one query: its image stamp, unit descriptor (dim,) and odometry pose (4, 4) or None.

        `features` makes the image's local features; it is called while the filter is unsure only.

        Raises FrameError for a descriptor with another dimension, not finite or without length, and for a stamp
        already answered. A stamp before the last one, or more than ten minutes after it, begins a new drive.
        """
        retrieval, motion, note = self.observe(stamp_ns, descriptor, T_odom_base)
        stamp_ns = int(stamp_ns)
        if retrieval is None:
            reason = "too_recent" if self._recent else "no_map"
            return Recognition(stamp_ns, (), 1.0, "unknown", reason, REASONS[reason], (), note)
        if self.local is not None and features is not None:
            if self.sure(retrieval, motion):
                self.local.rest()
            else:
                ratios, _ = self.calibration.evidence.log_ratios(retrieval.features, self.topology.n)
                order = np.argsort(-ratios, kind="stable")
                retrieval = self.local.weigh(retrieval, self.topology.ids[retrieval.rows], order, features)
        tuning = self.weighing.tuning(motion.step_m is not None)
        evidence = self.calibration.evidence if retrieval.local is None else self.weighing.evidence
        ratios = self.advance(retrieval, motion, evidence, tuning.temper)
        if retrieval.local is not None:
            retrieval = retrieval.ranked(ratios)
        p = tuning.probability(self.places)
        order = np.argsort(-p, kind="stable")
        return self._answer(stamp_ns, retrieval, [self.places[i] for i in order], p[order], motion, note)

    def observe(
        self, stamp_ns: int, descriptor: np.ndarray, T_odom_base: np.ndarray | None = None
    ) -> tuple[Retrieval | None, Motion, str]:
        """The part of `recognise` that does not depend on the calibration: checks, motion, search.

        Returns the retrieval (None while there is nothing to search), the motion since the last query, and a note on
        resets.
        """
        query = checked(descriptor, self.dim)
        stamp_ns = int(stamp_ns)
        self._check_clock(stamp_ns)
        silence_s = 0.0 if self._last_ns is None else (stamp_ns - self._last_ns) * 1e-9
        motion = self._motion.update(stamp_ns, T_odom_base, self.topology.spacing_m)
        if motion.step_m is None and silence_s > self.config.filter.motion.max_gap_s:
            self.reset("; ".join(filter(None, (self._note, f"no image and no odometry for {silence_s:.1f} s"))))
            motion = self._motion.update(stamp_ns, T_odom_base, self.topology.spacing_m)
        self._travelled_m += motion.step_m or 0.0
        note = "; ".join(filter(None, (self._note, motion.note)))
        self._note = ""
        for keyframe in self._recent.left_behind(stamp_ns, None if motion.step_m is None else self._travelled_m):
            self._add(keyframe)
        self.fresh = self._last_ns is None
        self._query, self._last_ns = self._centring.now(query), stamp_ns
        found = None
        if self.topology.n:
            found = self.searched.retrieve(
                self._query,
                self.topology,
                self.config.top_k,
                lambda best: self._novelty.update(query, best, self._centring.now),
            )
        self._learn(query, motion, found)
        return found, motion, note

    def _learn(self, query: np.ndarray, motion: Motion, found: Retrieval | None) -> None:
        """Takes a raw query into the drive's mean: as far as the robot has moved, else as far as the view is new."""
        if self.drive_mean is None:
            return
        if motion.step_m is not None:
            content = min(1.0, motion.step_m / self.topology.spacing_m)
        elif found is not None:
            content = found.novelty
        else:  # nothing to compare with yet: a view is as new as it differs from the last ones
            content = self._novelty.update(query, 0.0, self._centring.now)
        self._centring.learn(query, content)

    def sure(self, retrieval: Retrieval, motion: Motion) -> bool:
        """Whether the last frame's place was as good as certain and this one's retrieval goes on from there."""
        if not self.places or self.places[0].vicinity < self.config.local_rest_at:
            return False
        reach = 2 * self.topology.radius + (motion.step_m or 0.0)
        return self.topology.continues(self.places[0].row, int(retrieval.rows[0]), reach)

    def advance(self, retrieval: Retrieval, motion: Motion, evidence: EvidenceModel, temper: float) -> np.ndarray:
        """One step of the filter: prediction by the motion, update by the retrieval; `places` are what comes of it.

        Returns the log-likelihood ratios (k,) of the retrieved keyframes.
        """
        share, spacing_m = retrieval.novelty, min(self.config.evidence_spacing_m, self.topology.radius)
        if motion.step_m is not None and spacing_m > 0:
            # A look-alike facade fills several frames, each of them a new view of it: the way driven says how much of
            # the evidence is new, where it is known.
            share = min(1.0, motion.step_m / spacing_m)
        on_map = 1.0 - self.filter.off
        self.filter.predict(motion, retrieval.novelty)
        stayed = (1.0 - self.filter.off) / max(on_map, 1e-9)
        ratios, floor = evidence.log_ratios(retrieval.evidence, self.topology.n)
        strength = min(1.0, temper * share)  # no frame counts for more than itself
        self.filter.update(retrieval.rows, strength * ratios, strength * floor)
        frame = FrameEvidence(dict(zip(retrieval.rows.tolist(), ratios.tolist(), strict=True)), floor)
        places = distinct_places(self.filter, frame, self.config.max_places)
        if places:
            belief = float(logit(np.array(places[0].vicinity)))
            matched = retrieval.local is not None
            short, fall = self._yardstick.update(places[0].evidence, belief, share, matched)
            odds = self._untempered.update(places[0].evidence, share, stayed)
            places = [replace(place, shortfall=short, fall=fall, untempered=odds) for place in places]
        self.places = places
        return ratios

    def insert(
        self,
        keyframe_id: int,
        session: int,
        stamp_ns: int,
        descriptor: np.ndarray,
        T_odom_base: np.ndarray | None = None,
        T_map_base: np.ndarray | None = None,
        content: float = 1.0,
    ) -> None:
        """Takes in a keyframe of the current drive; it is searched once the robot has been away from it long enough.

        `content` in [0, 1] is how much of the frame is new: its weight in the session's mean.
        """
        vector = checked(descriptor, self.dim).astype(np.float16)
        self._recent.append(
            RecentKeyframe(keyframe_id, session, int(stamp_ns), vector, T_odom_base, T_map_base, self._travelled_m)
        )
        self._centring.insert(session, vector, content)

    def end_session(self, reason: str = "a new drive begins") -> None:
        """The current drive is over: all its keyframes are searched from now on, and the next note tells `reason`."""
        for keyframe in self._recent.all():
            self._add(keyframe)
        # From here on nothing tells this map from one that was loaded whole.
        if self.topology.n:
            self.topology.update_spacing()
            self._centre_drive()
        self._drive, self._centred_at = [], 0
        self.new_drive(reason)

    def _add(self, new: RecentKeyframe) -> None:
        row = self.topology.append(new.keyframe_id, new.session, new.stamp_ns, new.T_map_base, new.T_odom_base)
        assert row == len(self.searched)
        self.searched.add(self._centring.session(new.session, new.descriptor))
        if self.drive_mean is not None:
            self._drive.append(new)
            if len(self._drive) >= 2 * self._centred_at:
                self._centre_drive()

    def _centre_drive(self) -> None:
        """The drive's keyframes are compared without the mean of their session as it is known now."""
        rows = [self._centring.session(keyframe.session, keyframe.descriptor) for keyframe in self._drive]
        self.searched.replace_last(np.array(rows))
        self._centred_at = len(rows)

    def _check_clock(self, stamp_ns: int) -> None:
        if self._last_ns is None:
            return
        if stamp_ns == self._last_ns:
            raise FrameError(f"two images have the stamp {stamp_ns} ns: the second is skipped")
        if begins_anew(self._last_ns, stamp_ns):
            back = stamp_ns < self._last_ns
            self.new_drive(f"the clock went {jump_text(self._last_ns, stamp_ns)}, the filter starts anew")
            if back:
                self._recent.clock_went_back(stamp_ns)

    def _answer(
        self, stamp_ns: int, retrieval: Retrieval, places: list[Place], p: np.ndarray, motion: Motion, note: str
    ) -> Recognition:
        top, rows = self.topology, [place.row for place in places]
        hypotheses = named(top, places, p, self.searched.similarities(self._query, rows))
        last, self._last_place = self._last_place, rows[0] if rows else self._last_place
        reach = 2 * top.radius + (motion.step_m or 0.0)
        continues = last is not None and bool(rows) and top.continues(last, rows[0], reach)
        supported = bool(rows) and supports(top, retrieval.rows, rows[0])
        accept = self.accept_probabilities[motion.step_m is not None]
        status, reason, message = self._decision.decide(p, continues, supported, accept)
        logged = slice(0, RETRIEVAL_LOGGED)
        ranked = zip(top.ids[retrieval.rows[logged]].tolist(), retrieval.similarities[logged].tolist(), strict=True)
        unknown = max(0.0, 1.0 - float(p.sum()))
        return Recognition(stamp_ns, hypotheses, unknown, status, reason, message, tuple(ranked), note)
