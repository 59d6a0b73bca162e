"""Figures and pictures on stated probabilities, over the frames of one or of many runs."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from probability_drives import Answers

from vpr_ros.atomic import write_whole
from vpr_ros.evaluation import metrics
from vpr_ros.evaluation.report.curves import pr_plot, reliability_plot
from vpr_ros.evaluation.summary import evaluate
from vpr_ros.evaluation.truth import Truth

MIDDLE = (0.3, 0.9)  # stated probabilities that must come true as often as they say
HIGH = 0.8


@dataclass(frozen=True)
class Frames:
    """One row for each frame, all (Q,)."""

    on_map: np.ndarray  # bool; all others are off it
    first_right: np.ndarray  # bool: the most similar keyframe alone is right
    free: np.ndarray  # bool: nothing but its probability stands against acceptance
    right: np.ndarray  # bool: the most probable place is right
    stated: np.ndarray  # its probability; 0 where none was named
    usual: np.ndarray  # from which probability on it is accepted by default
    wanted: np.ndarray  # and where a precision is asked for; NaN where that is not known
    confirmed: np.ndarray  # 1 where it was accepted by default and verified, else 0; NaN where nothing was verified

    @classmethod
    def of(cls, answers: Answers, truth: Truth) -> "Frames":
        """A run against its truth."""
        records = answers.records
        run = evaluate(records, truth)
        best = np.array([[r.best.keyframe_id if r.best else -1] for r in records], np.int64)
        stated = np.array([r.best.probability if r.best else 0.0 for r in records])
        return cls(
            truth.on_map,
            run.ranks == 1,
            np.array([r.accepted for r in records]),
            metrics.membership(best, truth.positives)[:, 0],
            stated,
            np.full(len(records), answers.usual),
            np.full(len(records), answers.wanted),
            answers.confirmed,
        )

    @property
    def accepted(self) -> np.ndarray:
        return self.free & (self.stated >= self.usual)

    @classmethod
    def together(cls, parts: Sequence["Frames"]) -> "Frames":
        """Frames of many runs."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def __len__(self) -> int:
        return len(self.on_map)


def off_the_map(count: int) -> Truth:
    """Truth of a drive of which no frame shows a place of the map."""
    return Truth((np.empty(0, np.int64),) * count, np.ones(count, bool), np.empty(0, np.int64), "off the map")


Row = dict[str, float]
COLUMNS = (  # name, format
    ("on", "d"),
    ("R@1", ".3f"),
    ("accepted", ".3f"),
    ("precision", ".4f"),
    ("off", "d"),
    ("false", "d"),
    ("max p", ".3f"),
    ("> 0.8", "d"),
    ("ECE", ".3f"),
    ("mid n", "d"),
    ("stated", ".3f"),
    ("right", ".3f"),
    ("p(.99)", ".3f"),  # from which probability on is accepted where the precision 0.99 is asked for
    ("accepted .99", ".3f"),
    ("precision .99", ".4f"),
    ("R@P1", ".3f"),  # of frames on the map, how many are stated higher than any wrong one and any off the map
    ("confirmed", ".3f"),  # of frames on the map, how many are accepted and verified
    ("false conf.", ".0f"),  # frames off the map or wrong that are accepted and verified
)


def figures(frames: Frames) -> Row:
    """One row of the table; NaN where there is nothing to count, so for the precision of frames all off the map."""
    on, off, p = frames.on_map, ~frames.on_map, frames.stated
    asked_for = frames.free & (p >= frames.wanted)
    known = len(frames) > 0 and bool(np.isfinite(frames.wanted).all())
    middle = (p >= MIDDLE[0]) & (p < MIDDLE[1])
    curve = metrics.precision_recall(np.where(frames.free, p, 0.0), frames.right & on, int(on.sum()))
    return {
        "on": int(on.sum()),
        "R@1": metrics.share((frames.first_right & on).sum(), on.sum()),
        "accepted": metrics.share((frames.accepted & on).sum(), on.sum()),
        "precision": metrics.share(
            (frames.accepted & frames.right & on).sum(), frames.accepted.sum() if on.any() else 0
        ),
        "off": int(off.sum()),
        "false": int((frames.accepted & off).sum()),
        "max p": float(p[off].max()) if off.any() else float("nan"),
        "> 0.8": int((p[off] > HIGH).sum()),
        "ECE": metrics.reliability(p, frames.right & on).calibration_error,
        "mid n": int(middle.sum()),
        "stated": float(p[middle].mean()) if middle.any() else float("nan"),
        "right": metrics.share((frames.right & on & middle).sum(), middle.sum()),
        "p(.99)": float(frames.wanted.mean()) if len(frames) else float("nan"),
        "accepted .99": metrics.share((asked_for & on).sum(), on.sum()) if known else float("nan"),
        "precision .99": metrics.share((asked_for & frames.right & on).sum(), asked_for.sum() if on.any() else 0),
        "R@P1": metrics.recall_at_precision(curve)[0] if on.any() else float("nan"),
        "confirmed": float(frames.confirmed[on & frames.right].sum() / on.sum()) if on.any() else float("nan"),
        "false conf.": float(frames.confirmed[off | ~frames.right].sum()),
    }


def cell_width(name: str) -> int:
    return max(7, len(name) + 2)


def header(width: int) -> str:
    return f"{'set':<{width}}" + "".join(name.rjust(cell_width(name)) for name, _ in COLUMNS)


def line(name: str, row: Row, width: int) -> str:
    cells = (("-" if row[key] != row[key] else format(row[key], form)).rjust(cell_width(key)) for key, form in COLUMNS)
    return f"{name:<{width}}" + "".join(cells)


def write_pictures(folder: Path, name: str, frames: Frames) -> None:
    """Precision against recall, and stated against observed probability."""
    folder.mkdir(parents=True, exist_ok=True)
    right = frames.right & frames.on_map
    if frames.on_map.any():
        curve = metrics.precision_recall(frames.stated, right, int(frames.on_map.sum()))
        run = figures(frames)
        recall = metrics.share((frames.accepted & right).sum(), frames.on_map.sum())
        picture = pr_plot(curve, (recall, run["precision"]), metrics.recall_at_precision(curve))
        write_whole(folder / f"{name}_pr.png", picture.light)
    write_whole(folder / f"{name}_reliability.png", reliability_plot(metrics.reliability(frames.stated, right)).light)
