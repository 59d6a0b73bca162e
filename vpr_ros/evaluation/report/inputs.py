"""What a report is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.evaluation.matches import MatchRecord, RunInfo
from vpr_ros.evaluation.report.page import Table
from vpr_ros.evaluation.summary import Evaluation
from vpr_ros.evaluation.truth import Truth

ImageLike = np.ndarray | bytes | None  # (H, W, 3) uint8 RGB, or JPEG/PNG bytes


@dataclass
class ReportInput:
    """What the report is made of; only `records` is needed.

    keyframe_ids (K,) in map order (session, stamp) and keyframe_xy (K, 2) metres draw the map where `truth` holds no
    positions. `query_images` is called once with all stamps that are shown, so that a bag is read only once.
    """

    records: Sequence[MatchRecord]
    run: RunInfo = field(default_factory=RunInfo)
    truth: Truth | None = None
    evaluation: Evaluation | None = None  # computed from records and truth where left out
    title: str = "Place recognition report"
    subtitle: str = ""
    keyframe_ids: np.ndarray | None = None
    keyframe_xy: np.ndarray | None = None
    query_images: Callable[[Sequence[int]], Mapping[int, ImageLike]] | None = None
    keyframe_image: Callable[[int], ImageLike] | None = None
    tables: Sequence[Table] = ()
    examples: int = 6


def series(records: Sequence[MatchRecord]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds since the first frame, probability of the best place, similarity of the first retrieved image; (Q,)."""
    stamps = np.array([r.stamp_ns for r in records], dtype=np.int64)
    time_s = (stamps - stamps.min()) / 1e9 if len(stamps) else np.zeros(0)
    probability = np.array([r.best.probability if r.best else np.nan for r in records], dtype=float)
    similarity = np.array([r.retrieval[0][1] if r.retrieval else np.nan for r in records], dtype=float)
    return time_s, probability, similarity
