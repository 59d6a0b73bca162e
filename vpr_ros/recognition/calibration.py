"""How similarities and filter posteriors become probabilities: the calibrated part of a checkpoint or a map."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

import numpy as np

from vpr_ros.configuration import DRIVE_MEAN_FRAMES, DecisionConfig
from vpr_ros.errors import VprError
from vpr_ros.recognition.monotone import MonotoneMap, logit, sigmoid
from vpr_ros.recognition.threshold import Threshold, ThresholdTable

CALIBRATION_VERSION = 3
Source = Literal["default", "checkpoint", "labelled drive", "self-matches"]
SOURCES: tuple[Source, ...] = get_args(Source)
# A keyframe retrieved from a larger map is a rarer event and so stronger evidence, log(N / k): but what is retrieved
# from it is also more alike. The gain stops at the size of the maps that checkpoints are calibrated on, 350 keyframes,
# and a large map takes a few more frames to be sure.
MAX_LOG_RARITY = 2.0


@dataclass(frozen=True)
class EvidenceModel:
    """Log-likelihood ratio of one retrieved keyframe: being the right place against not.

    log LR = map(features) + log P(retrieved | right) - log P(retrieved | off the map). The map is fitted so that Bayes'
    rule tells the right keyframe from the other retrieved ones and from being off the map, by (similarity, its z-score
    over the query's own background, its lead over the best distinct place in units of the background's spread), and
    P(retrieved | off the map) is about k / N. For descriptors of several parts, the z-score of each part follows; a map
    of three functions leaves them aside.
    """

    map: MonotoneMap
    hit_rate: float  # P(a right keyframe is among the top k)

    def log_ratios(self, features: np.ndarray, n_keyframes: int) -> tuple[np.ndarray, float]:
        """Log-likelihood ratios (k,) of the retrieved keyframes (k, F) and the floor of all others."""
        share = min(1.0, len(features) / max(n_keyframes, 1))
        rarity = min(MAX_LOG_RARITY, -math.log(max(share, 1e-12)))
        floor = min(0.0, math.log(max(1 - self.hit_rate, 0.02)) - math.log(max(1 - share, 0.02)))
        return self.map(features) + math.log(self.hit_rate) + rarity, floor


@dataclass(frozen=True)
class Tuning:
    """How the filter's posterior is read; robots with and without odometry have one each.

    `posterior` turns the filter's logit for a distinct place into the log-odds that the true place lies within the
    radius. `cap` is a second such map; the smaller probability counts, so that it can only lower. `thresholds` is what
    the drives that it was fitted on say about accepting from some probability on; None where nothing is known of that.
    """

    temper: float  # exponent on every likelihood ratio: neighbouring frames err together
    posterior: MonotoneMap
    cap: MonotoneMap | None = None
    thresholds: ThresholdTable | None = None

    def probability(self, posterior: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (M,) of posteriors (M,) of distinct places, scaled down where their sum passes 1."""
        x = logit(posterior)[:, None]
        p = sigmoid(self.posterior(x))
        if self.cap is not None:
            p = np.minimum(p, sigmoid(self.cap(x)))
        return p / max(1.0, float(p.sum()))

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
        cap = None if self.cap is None else self.cap.to_dict()
        thresholds = None if self.thresholds is None else self.thresholds.to_dict()
        return {"temper": self.temper, "posterior": self.posterior.to_dict(), "cap": cap, "thresholds": thresholds}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Tuning":
        """Inverse of `to_dict`; KeyError, TypeError or ValueError for damaged content."""
        temper = float(data["temper"])
        if not 0 < temper <= 10:
            raise ValueError(f"temper {temper} is not in (0, 10]")
        cap = None if data.get("cap") is None else MonotoneMap.from_dict(data["cap"])
        table = None if data.get("thresholds") is None else ThresholdTable.from_dict(data["thresholds"])
        return cls(temper, MonotoneMap.from_dict(data["posterior"]), cap, table)


@dataclass(frozen=True)
class Calibration:
    """Evidence model and the readings of the posterior, with their origin."""

    source: Source
    radius: float  # metres; frames for maps without poses
    evidence: EvidenceModel
    odometry: Tuning
    plain: Tuning
    n_queries: int = 0
    n_off_map: int = 0
    note: str = ""
    drive_mean_frames: float = 0.0  # `RecognitionConfig.drive_mean_frames` that it was fitted with
    version: int = field(default=CALIBRATION_VERSION)

    def tuning(self, with_odometry: bool) -> Tuning:
        """The reading in force for a frame with or without odometry."""
        return self.odometry if with_odometry else self.plain

    def accept_probability(self, decision: DecisionConfig, with_odometry: bool) -> float:
        """From which probability on a frame's place is accepted; VprError where a wanted precision is not known of."""
        if decision.accept_precision is None:
            return decision.accept_probability
        return self.tuning(with_odometry).threshold(decision.accept_precision).probability

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for the map's and the checkpoint's calibration slot."""
        return {
            "version": self.version,
            "source": self.source,
            "radius": self.radius,
            "evidence": {"map": self.evidence.map.to_dict(), "hit_rate": self.evidence.hit_rate},
            "odometry": self.odometry.to_dict(),
            "plain": self.plain.to_dict(),
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
            hit_rate, radius = float(data["evidence"]["hit_rate"]), float(data["radius"])
            if not (0 < hit_rate < 1 and radius > 0):
                raise ValueError("hit_rate or radius out of range")
            memory = float(data.get("drive_mean_frames", 0.0))  # version 1 knew no means of drives
            if not 0 <= memory < math.inf:
                raise ValueError(f"drive_mean_frames {memory} is not 0 or more")
            if data["source"] not in SOURCES:
                raise ValueError(f"source {data['source']!r} is none of {', '.join(SOURCES)}")
            return cls(
                source=data["source"],
                radius=radius,
                evidence=EvidenceModel(MonotoneMap.from_dict(data["evidence"]["map"]), hit_rate),
                odometry=Tuning.from_dict(data["odometry"]),
                plain=Tuning.from_dict(data["plain"]),
                n_queries=int(data.get("n_queries", 0)),
                n_off_map=int(data.get("n_off_map", 0)),
                note=str(data.get("note", "")),
                drive_mean_frames=memory,
                version=int(data["version"]),
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
        return cls("default", radius, model, odometry, plain, drive_mean_frames=DRIVE_MEAN_FRAMES)


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
