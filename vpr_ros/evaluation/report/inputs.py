"""What a report is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.evaluation import summary
from vpr_ros.evaluation.matches import MatchRecord, RunInfo
from vpr_ros.evaluation.report.page import Table
from vpr_ros.evaluation.report.shots import ImageLike
from vpr_ros.evaluation.similarities import SimilarityMatrix
from vpr_ros.evaluation.summary import Evaluation
from vpr_ros.evaluation.truth import Truth
from vpr_ros.evaluation.verified import PoseErrors, VerifiedMatch


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
    similarities: SimilarityMatrix | None = None
    tables: Sequence[Table] = ()
    verified: Sequence[VerifiedMatch] = ()
    pose_errors: PoseErrors | None = None  # of those that have a measured pose


def series(records: Sequence[MatchRecord]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds since the first frame, probability of the best place, similarity of the first retrieved image; (Q,)."""
    stamps = np.array([r.stamp_ns for r in records], dtype=np.int64)
    time_s = (stamps - stamps.min()) / 1e9 if len(stamps) else np.zeros(0)
    probability = np.array([r.best.probability if r.best else np.nan for r in records], dtype=float)
    similarity = np.array([r.retrieval[0][1] if r.retrieval else np.nan for r in records], dtype=float)
    return time_s, probability, similarity


def keyframe_rows(report: ReportInput) -> dict[int, int]:
    """Number of each keyframe in the map's order, by its id; empty where the keyframes are not known."""
    ids = report.keyframe_ids
    if ids is None and report.truth is not None:
        ids = report.truth.keyframe_ids
    return {} if ids is None else {int(k): row for row, k in enumerate(ids)}


def frame_xy(report: ReportInput) -> np.ndarray:
    """Where each frame's dot lies on the map (Q, 2) in metres: its true position, else its accepted keyframe's.

    NaN where there is no dot.
    """
    truth, count = report.truth, len(report.records)
    if truth is not None:
        return np.full((count, 2), np.nan) if truth.query_xy is None else truth.query_xy
    if report.keyframe_ids is None or report.keyframe_xy is None:
        return np.full((count, 2), np.nan)
    accepted = np.array([-1 if r.keyframe_id is None else r.keyframe_id for r in report.records])
    xy = summary.positions_of(accepted, report.keyframe_ids, report.keyframe_xy)
    assert xy is not None
    return xy
