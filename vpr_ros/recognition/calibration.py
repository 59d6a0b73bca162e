"""How similarities and filter posteriors become probabilities: the calibrated part of a checkpoint or a map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

import numpy as np

from vpr_ros.configuration import DRIVE_MEAN_FRAMES, DecisionConfig
from vpr_ros.errors import VprError
from vpr_ros.recognition.monotone import MonotoneMap, logit, lower_of, sigmoid
from vpr_ros.recognition.places import Place
from vpr_ros.recognition.threshold import Threshold, ThresholdTable

CALIBRATION_VERSION = 4
Source = Literal["default", "checkpoint", "labelled drive", "self-matches"]
SOURCES: tuple[Source, ...] = get_args(Source)
# A keyframe retrieved from a larger map is a rarer event and so stronger evidence, log(N / k): but what is retrieved
# from it is also more alike. The gain stops at the size of the maps that checkpoints are calibrated on, 350 keyframes,
# and a large map takes a few more frames to be sure.
MAX_LOG_RARITY = 2.0
LEAST_RIVAL = 1e-5  # posterior of a place that is no rival to any other


@dataclass(frozen=True)
class EvidenceModel:
    """Log-likelihood ratio of one retrieved keyframe: being the right place against not.

    log LR = map(features) + log P(retrieved | right) - log P(retrieved | off the map). The map is fitted so that Bayes'
    rule tells the right keyframe from the other retrieved ones and from being off the map, by (similarity, its z-score
    over the query's own background, its lead over the best distinct place in units of the background's spread), and
    P(retrieved | off the map) is about k / N. For descriptors of several parts, the z-score of each part follows; a map
    of three functions leaves them aside. A model for local features weighs their readings as well, which stand last.
    """

    map: MonotoneMap
    hit_rate: float  # P(a right keyframe is among the top k)

    def log_ratios(self, features: np.ndarray, n_keyframes: int) -> tuple[np.ndarray, float]:
        """Log-likelihood ratios (k,) of the retrieved keyframes (k, F) and the floor of all others."""
        share = min(1.0, len(features) / max(n_keyframes, 1))
        rarity = min(MAX_LOG_RARITY, -math.log(max(share, 1e-12)))
        floor = min(0.0, math.log(max(1 - self.hit_rate, 0.02)) - math.log(max(1 - share, 0.02)))
        return self.map(features) + math.log(self.hit_rate) + rarity, floor


def readings_of(places: Sequence[Place]) -> np.ndarray:
    """What probabilities of a frame's places are read from (M, 9).

    The logit of the vicinity's posterior, how far it lies above what it was a priori, what the frame alone says, the
    shortfall of the last ones, the fall of the belief, the logarithm of how many times as probable the place is as the
    best other one, the share of the vicinity's posterior that lies within the radius, the logit of the posterior there,
    and the untempered log-odds.
    """
    columns = [(p.vicinity, p.before, p.evidence, p.shortfall, p.fall, p.posterior, p.untempered) for p in places]
    vicinity, before, evidence, shortfall, fall, posterior, untempered = np.array(columns).reshape(-1, 7).T
    gain = logit(vicinity) - logit(before)
    share = posterior / np.maximum(vicinity, 1e-12)
    rivals = np.array([max(np.delete(posterior, i), default=0.0) for i in range(len(posterior))])
    lead = np.log(np.maximum(posterior, LEAST_RIVAL) / np.maximum(rivals, LEAST_RIVAL))
    readings = logit(vicinity), gain, evidence, shortfall, fall, lead, share, logit(posterior), untempered
    return np.column_stack(readings)


@dataclass(frozen=True)
class Tuning:
    """How the filter's posterior is read; robots with and without odometry have one each.

    The probability that the true place lies within the radius is that of being in the vicinity of the place at all,
    times that of being within the radius if so. `posterior` gives the log-odds of the first, from six readings: the
    logit of the filter's posterior for the vicinity; how much that is above its prior, since in a small map any place
    is likely; what the frame itself says, since a filter that takes neighbouring frames for dependent is slow to notice
    where a drive leaves the map; how far the last frames fall short of what this drive's frames say on the map; how far
    the belief has just fallen; and the lead over the best other place. `within` gives those of the second from the
    share of the vicinity's posterior that lies within the radius. The lead also bounds the whole, and so do the
    untempered log-odds: where the way leads off the end of the map, what frames have said before counts no more.
    Without `within`, `posterior` gives the whole from the logit of the posterior within the radius. `cap` maps log-odds
    to log-odds; the smaller probability counts, so that it can only lower. `thresholds` is what the drives that it was
    fitted on say about accepting from some probability on; None where nothing is known.
    """

    temper: float  # exponent on every likelihood ratio: neighbouring frames err together
    posterior: MonotoneMap
    within: MonotoneMap | None = None
    cap: MonotoneMap | None = None
    thresholds: ThresholdTable | None = None

    def probability(self, places: Sequence[Place]) -> np.ndarray:
        """Calibrated probabilities (M,) of the distinct places (M,) of a frame, their sum 1 at most."""
        x = readings_of(places)
        p = self.uncapped(x)
        if self.cap is not None:
            p = np.minimum(p, sigmoid(self.cap(logit(p)[:, None])))
        if self.within is not None and len(p) > 1:
            # The maps are fitted on the best places of frames. What is left of its probability is for the others and
            # for being off the map, as the filter has it.
            posterior = sigmoid(x[1:, 7])
            p[1:] = np.minimum(p[1:], (1 - p[0]) * posterior / max(1 - float(sigmoid(x[:1, 7])[0]), 1e-9))
        return p / max(1.0, float(p.sum()))

    def uncapped(self, readings: np.ndarray) -> np.ndarray:
        """Probabilities (M,) of single places by their readings (M, 9), by `posterior` and `within` alone."""
        if self.within is None:
            return sigmoid(self.posterior(readings[:, 7:8]))
        p = sigmoid(self.posterior(readings)) * sigmoid(self.within(readings[:, 6:7]))
        # Neither is more certain than without any temper: which place it is, and that the robot has not left the map.
        return np.minimum(p, sigmoid(np.minimum(readings[:, 5] / self.temper, readings[:, 8])))

    def threshold(self, precision: float) -> Threshold:
        """From which probability on to accept places, so that `precision` of what is accepted is right.

        Raises VprError where nothing is known of that, and for a precision that is not between 0 and 1.
        """
        if self.thresholds is None:
            raise VprError(
                "a precision cannot be asked for: the calibration in force was fitted by an older version, or on "
                "nothing, and has no thresholds; fit one with `vpr_ros calibrate`, or give a probability"
            )
        return self.thresholds.threshold(precision)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        optional = {"within": self.within, "cap": self.cap, "thresholds": self.thresholds}
        parts = {name: None if part is None else part.to_dict() for name, part in optional.items()}
        return {"temper": self.temper, "posterior": self.posterior.to_dict(), **parts}

    @classmethod
    def from_dict(cls, data: dict[str, Any], version: int = CALIBRATION_VERSION) -> "Tuning":
        """Inverse of `to_dict`; KeyError, TypeError or ValueError for damaged content."""
        temper = float(data["temper"])
        if not 0 < temper <= 10:
            raise ValueError(f"temper {temper} is not in (0, 10]")
        within, cap = (None if data.get(n) is None else MonotoneMap.from_dict(data[n]) for n in ("within", "cap"))
        table = None if data.get("thresholds") is None else ThresholdTable.from_dict(data["thresholds"])
        posterior = MonotoneMap.from_dict(data["posterior"])
        if cap is not None and version < 4:  # it limited the same reading that `posterior` is of
            posterior, cap = lower_of(posterior, cap), None
        return cls(temper, posterior, within, cap, table)


@dataclass(frozen=True)
class Weighing:
    """Evidence model and the readings of the posterior, for robots with and without odometry."""

    evidence: EvidenceModel
    odometry: Tuning
    plain: Tuning

    def tuning(self, with_odometry: bool) -> Tuning:
        """The reading in force for a frame with or without odometry."""
        return self.odometry if with_odometry else self.plain

    def accept_probability(self, decision: DecisionConfig, with_odometry: bool) -> float:
        """From which probability on a frame's place is accepted; VprError where a wanted precision is not known of."""
        if decision.accept_precision is None:
            return decision.accept_probability
        return self.tuning(with_odometry).threshold(decision.accept_precision).probability

    def weights(self) -> dict[str, Any]:
        """Plain JSON types."""
        evidence = {"map": self.evidence.map.to_dict(), "hit_rate": self.evidence.hit_rate}
        return {"evidence": evidence, "odometry": self.odometry.to_dict(), "plain": self.plain.to_dict()}

    @classmethod
    def parts_of(cls, data: dict[str, Any], version: int) -> dict[str, Any]:
        """Inverse of `weights`, by field; KeyError, TypeError or ValueError for damaged content."""
        hit_rate = float(data["evidence"]["hit_rate"])
        if not 0 < hit_rate < 1:
            raise ValueError("hit_rate out of range")
        tunings = {name: Tuning.from_dict(data[name], version) for name in ("odometry", "plain")}
        return {"evidence": EvidenceModel(MonotoneMap.from_dict(data["evidence"]["map"]), hit_rate), **tunings}


@dataclass(frozen=True)
class LocalWeighing(Weighing):
    """How frames are weighed whose local features are compared with those of keyframes.

    The tunings hold for a whole drive, also for its frames that rest, since they were fitted on such drives.
    """

    kind: str  # of the local features: "xfeat", "sift"


@dataclass(frozen=True)
class Calibration(Weighing):
    """Evidence model and the readings of the posterior, with their origin.

    `local` is what holds instead where local features are compared; None where that was never fitted.
    """

    source: Source
    radius: float  # metres; frames for maps without poses
    n_queries: int = 0
    n_off_map: int = 0
    note: str = ""
    drive_mean_frames: float = 0.0  # `RecognitionConfig.drive_mean_frames` that it was fitted with
    version: int = field(default=CALIBRATION_VERSION)
    local: LocalWeighing | None = None

    def require(self, offered: int) -> None:
        """VprError where it weighs more kinds of evidence than descriptors offer."""
        weighed = len(self.evidence.map.knots)
        if weighed > offered:
            raise VprError(
                f"the calibration weighs {weighed} kinds of evidence and the descriptors give {offered}: fit another "
                "one with `vpr_ros calibrate`"
            )

    def in_force(self, kind: str | None) -> Weighing:
        """What holds for drives with local features of a kind (None: without)."""
        return self.local if self.local is not None and self.local.kind == kind else self

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for the map's and the checkpoint's calibration slot."""
        return {
            "version": self.version,
            "source": self.source,
            "radius": self.radius,
            **self.weights(),
            **({"local": {"kind": self.local.kind, **self.local.weights()}} if self.local else {}),
            "n_queries": self.n_queries,
            "n_off_map": self.n_off_map,
            "note": self.note,
            "drive_mean_frames": self.drive_mean_frames,
        }

    @classmethod
    def from_dict(cls, data: Any) -> "Calibration":
        """Inverse of `to_dict`; VprError for a newer version or damaged content."""
        version = _version_of(data)
        if isinstance(version, int) and version > CALIBRATION_VERSION:
            raise VprError(
                f"the calibration has version {version} and this program reads up to {CALIBRATION_VERSION}: "
                "update vpr_ros or calibrate again"
            )
        try:
            radius, local = float(data["radius"]), data.get("local")
            if radius <= 0:
                raise ValueError("radius out of range")
            memory = float(data.get("drive_mean_frames", 0.0))  # version 1 knew no means of drives
            if not 0 <= memory < math.inf:
                raise ValueError(f"drive_mean_frames {memory} is not 0 or more")
            if data["source"] not in SOURCES:
                raise ValueError(f"source {data['source']!r} is none of {', '.join(SOURCES)}")
            return cls(
                source=data["source"],
                radius=radius,
                **cls.parts_of(data, int(data["version"])),
                n_queries=int(data.get("n_queries", 0)),
                n_off_map=int(data.get("n_off_map", 0)),
                note=str(data.get("note", "")),
                drive_mean_frames=memory,
                version=int(data["version"]),
                local=None
                if local is None
                else LocalWeighing(kind=str(local["kind"]), **cls.parts_of(local, int(data["version"]))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise VprError(f"the calibration is damaged ({error}): calibrate again with `vpr_ros calibrate`") from error

    @classmethod
    def default(cls, radius: float = 10.0) -> "Calibration":
        """For descriptors without a calibration: absolute similarity counts nothing, one frame counts little, and only
        a posterior above about 0.97 reaches a probability of 0.9."""
        evidence = MonotoneMap(-3.5, ((0.0, 1.0), (1.0, 9.0), (-4.0, 6.0)), ((0.0, 0.0), (0.0, 3.2), (0.0, 5.0)))
        posterior = MonotoneMap(-9.4, ((-9.0, 6.0),), ((0.0, 14.0),))
        model = EvidenceModel(evidence, hit_rate=0.8)
        odometry, plain = Tuning(3.0, posterior), Tuning(0.6, posterior)
        return cls(model, odometry, plain, "default", radius, drive_mean_frames=DRIVE_MEAN_FRAMES)


def _version_of(data: object) -> object:
    """The version that a calibration names; None for content that is no dictionary."""
    return cast(dict[str, Any], data).get("version") if isinstance(data, dict) else None


def lower_only(tuning: Tuning, capping: MonotoneMap) -> Tuning:
    """`tuning` with its probabilities limited by `capping`: what self-matches of one drive may do, and no more.

    A drive matched against itself has no change of season, light or traffic, so its similarities are too high; when
    even they are ambiguous, other drives' are too.
    """
    return replace(tuning, cap=capping)


def choose_calibration(
    map_calibration: dict[str, Any] | None, checkpoint_calibration: dict[str, Any] | None, radius: float
) -> Calibration:
    """The calibration in force: the map's own (labelled drive, or self-matches), else the checkpoint's, else the
    default."""
    for data in (map_calibration, checkpoint_calibration):
        if data:
            return Calibration.from_dict(data)
    return Calibration.default(radius)
