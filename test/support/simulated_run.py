"""A run without a network: a route through blocks, a second drive beside it that leaves the map, noisy answers."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.evaluation.matches import MatchRecord
from vpr_ros.evaluation.truth import Truth, truth_from_poses
from vpr_ros.geometry import planar_transform
from vpr_ros.recognition.types import ScoredKeyframe

CORNERS = np.array([[0, 0], [180, 0], [180, 120], [60, 120], [60, 260], [300, 260], [300, 60], [420, 60], [420, 330]])
DETOUR = np.array([[420, 330], [560, 330], [560, 180], [700, 180]])


@dataclass
class SimulatedRun:
    records: list[MatchRecord]
    truth: Truth
    keyframe_ids: np.ndarray
    keyframe_xy: np.ndarray
    query_place: np.ndarray  # (Q,) nearest keyframe row, for pictures


def along(corners: np.ndarray, spacing_m: float) -> np.ndarray:
    """Poses (N, 4, 4) every `spacing_m` along a polyline."""
    lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    at = np.arange(0, lengths.sum(), spacing_m)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    xy = np.stack([np.interp(at, ends, corners[:, i]) for i in range(2)], axis=1)
    leg = np.clip(np.searchsorted(ends, at, side="right") - 1, 0, len(lengths) - 1)
    yaw = np.arctan2(*np.diff(corners, axis=0)[leg].T[::-1])
    return np.array([planar_transform(x, y, a) for (x, y), a in zip(xy, yaw, strict=True)])


def simulate(seed: int = 0, spacing_m: float = 2.0, noise: float = 0.25, radius_m: float = 10.0) -> SimulatedRun:
    """A seeded run with right, wrong, missed, unknown and falsely accepted frames."""
    rng = np.random.default_rng(seed)
    keyframes = along(CORNERS, 2.0)
    ids = 100 + np.arange(len(keyframes))
    queries = np.concatenate([along(CORNERS, spacing_m), along(DETOUR, spacing_m)])
    queries[:, :2, 3] += rng.normal(0, 0.8, (len(queries), 2)) + [0.5, -0.7]
    truth = truth_from_poses(queries, ids, keyframes, radius_m)
    distance = np.linalg.norm(queries[:, None, :2, 3] - keyframes[None, :, :2, 3], axis=2)
    blur = np.convolve(rng.normal(0, 1, len(queries) + 20), np.ones(20) / 20, "same")[: len(queries)]
    records = []
    for q in range(len(queries)):
        seen = 1 - 0.75 * np.exp(-(((q - 420) / 35) ** 2))  # a dark stretch
        looks = seen * np.exp(-distance[q] / 15) + noise * rng.normal(0, 1, len(ids)) * (0.35 + abs(blur[q]))
        similarity = 0.35 + 0.45 * np.clip(looks, -0.4, 1.2)
        order = np.argsort(-similarity)[:25]
        second = next((r for r in order if abs(r - order[0]) > 10), order[-1])
        strength = 22 * (similarity[order[0]] - 0.62) + rng.normal(0, 0.5)
        p = float(1 / (1 + np.exp(-strength)))
        hypotheses = (
            ScoredKeyframe(int(ids[order[0]]), 0.97 * p, float(similarity[order[0]])),
            ScoredKeyframe(int(ids[second]), 0.2 * p * (1 - p), float(similarity[second])),
        )
        accepted = p > 0.6
        status = "accepted" if accepted else "rejected" if p > 0.3 else "unknown"
        reason = {"accepted": "", "rejected": f"probability {p:.2f} is below 0.60", "unknown": "not in the map"}
        records.append(
            MatchRecord(
                1_700_000_000 * 10**9 + q * 10**8,
                status,
                reason[status],
                1 - sum(h.probability for h in hypotheses),
                hypotheses[0].keyframe_id if accepted else None,
                hypotheses[0].probability if accepted else None,
                hypotheses,
                tuple((int(ids[r]), float(similarity[r])) for r in order),
            )
        )
    return SimulatedRun(records, truth, ids, keyframes[:, :2, 3], distance.argmin(axis=1))
