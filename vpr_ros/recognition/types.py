"""What recognition answers: distinct places with calibrated probabilities, and a decision with its reason."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

RETRIEVAL_LOGGED = 25  # deep enough for every Recall@N that the papers print
Status = Literal["accepted", "rejected", "unknown"]
Reason = Literal[
    "accepted", "off_map", "ambiguous", "low_probability", "unsupported", "unconfirmed", "too_recent", "no_map"
]


@dataclass(frozen=True, slots=True)
class ScoredKeyframe:
    """One distinct place of the map, named by its best keyframe: what a file of answers keeps of it."""

    keyframe_id: int
    probability: float  # calibrated: the true place lies within the place radius of this keyframe
    similarity: float  # inner product of the query's descriptor and the keyframe's


@dataclass(frozen=True, slots=True)
class Hypothesis(ScoredKeyframe):
    """A scored keyframe of an open map, with its row and its pose."""

    row: int  # row of the keyframe in the recogniser's arrays
    T_map_base: np.ndarray | None  # pose (4, 4) of the keyframe; None where the map has no poses
    stamp_ns: int  # when the keyframe was taken


@dataclass(frozen=True, slots=True)
class Recognition:
    """Answer to one query image.

    `hypotheses` are sorted by probability; their sum and `p_unknown` make 1. `reason` is a short word for programs,
    `message` the sentence for people. `retrieval` is the raw single-frame ranking, before any filter.
    """

    stamp_ns: int
    hypotheses: tuple[Hypothesis, ...]
    p_unknown: float
    status: Status
    reason: Reason
    message: str
    retrieval: tuple[tuple[int, float], ...]
    note: str = ""  # what happened to the filter before this frame: a reset, a jump of the odometry

    @property
    def best(self) -> Hypothesis | None:
        """The most probable place, accepted or not; None without a map."""
        return self.hypotheses[0] if self.hypotheses else None

    @property
    def match(self) -> Hypothesis | None:
        """The place that was accepted; None otherwise."""
        return self.best if self.status == "accepted" else None
