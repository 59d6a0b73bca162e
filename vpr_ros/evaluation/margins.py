"""How close a run came to other answers: its stated probabilities against the acceptance threshold and the truth."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vpr_ros.evaluation.matches import MatchRecord, RunInfo
from vpr_ros.evaluation.summary import right_answers
from vpr_ros.evaluation.truth import Truth

SURE = 0.8  # a probability that should not be stated off the map
BETWEEN = (0.3, 0.9)  # neither sure nor hopeless: here a calibration shows what it is worth


@dataclass(frozen=True)
class Margins:
    """Counts of frames by the stated probability of their best place; NaN and None where there is nothing to count."""

    threshold: float | None  # of acceptance
    frames: int  # with a best place
    above: int  # stated at or above the threshold
    off_map: int
    offmap_highest: float
    offmap_highest_frame: int | None
    offmap_sure: int  # off the map, stated above SURE
    known: int  # with ground truth
    between: int  # with ground truth, stated within BETWEEN
    between_stated: float  # their mean probability
    between_right: int

    def to_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}

    def sentences(self) -> list[str]:
        """What there is to say, in words."""
        said = []
        if self.threshold is not None and self.frames:
            said.append(
                f"A place is accepted from probability {self.threshold:.4g} on: {self.above} of {self.frames} frames "
                f"({100 * self.above / self.frames:.1f} %) lie there."
            )
        if self.off_map and self.offmap_highest_frame is not None:
            against = "" if self.threshold is None else f", against a threshold of {self.threshold:.4g}"
            said.append(
                f"Off the map the highest probability is {self.offmap_highest:.3f} "
                f"(frame {self.offmap_highest_frame}){against}."
            )
        if self.off_map:
            said.append(f"Off-map frames stated above {SURE:g}: {self.offmap_sure} of {self.off_map}.")
        if self.known:
            low, high = BETWEEN
            tail = (
                f", mean stated p {self.between_stated:.2f}, right share {self.between_right / self.between:.2f} "
                f"({self.between_right} right)"
                if self.between
                else ""
            )
            said.append(f"Stated {low:g}–{high:g}: {self.between} frames{tail}.")
        return said


def acceptance_threshold(run: RunInfo) -> float | None:
    """The probability from which the run accepted a place; None where run.json does not tell.

    That of frames with odometry where the drive had a topic of it. Older files tell only what was asked for.
    """
    driven = "odometry" if _entry(run.config, "topics", "odom") else "plain"
    for value in (
        _entry(run.extra, "accepted_from", driven),
        _entry(run.config, "recognition", "decision", "accept_probability"),
    ):
        if isinstance(value, (int, float)):
            return float(value)
    return None


def _entry(data: Any, *path: str) -> Any:
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def margins(records: Sequence[MatchRecord], threshold: float | None, truth: Truth | None = None) -> Margins:
    """Figures of a run, record i with query i of `truth`."""
    p = np.array([r.best.probability if r.best else np.nan for r in records], dtype=float)
    stated = np.isfinite(p)
    nothing = np.zeros(len(records), dtype=bool)
    known, off_map = (nothing, nothing) if truth is None else (truth.known, truth.off_map)
    right = nothing if truth is None else right_answers(records, truth)
    off = np.where(off_map & stated, p, -1.0)
    highest = int(off.argmax()) if len(off) and off.max() >= 0 else None
    between = known & (p >= BETWEEN[0]) & (p < BETWEEN[1])
    return Margins(
        threshold=threshold,
        frames=int(stated.sum()),
        above=0 if threshold is None else int((p >= threshold).sum()),
        off_map=int(off_map.sum()),
        offmap_highest=float("nan") if highest is None else float(off[highest]),
        offmap_highest_frame=highest,
        offmap_sure=int((off > SURE).sum()),
        known=int(known.sum()),
        between=int(between.sum()),
        between_stated=float(p[between].mean()) if between.any() else float("nan"),
        between_right=int((between & right).sum()),
    )
