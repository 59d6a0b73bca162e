"""What a run's verifications say, as it is kept beside its answers, and how far measured poses are from the truth."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, make_transform, matrix_to_rotvec
from vpr_ros.place_map import Keyframes

CLOSURES = "loop_closures.jsonl"
PER_MILLE = 1000  # of a picture's side: the unit of keypoints, whatever size the pictures are shown in


@dataclass(frozen=True)
class VerifiedMatch:
    """One line of loop_closures.jsonl."""

    stamp_ns: int
    keyframe_id: int
    accepted: bool
    method: str
    reason: str
    agreement: float
    T_keyframe_query: np.ndarray | None  # (4, 4)
    covariance: np.ndarray | None  # (6, 6)
    keypoints: np.ndarray  # (M, 4) x y in the query's picture, x y in the keyframe's; 0 to 1


@dataclass(frozen=True)
class PoseErrors:
    """Of M measured poses: against the true pose of the query in the keyframe's base."""

    metres: np.ndarray  # (M,)
    degrees: np.ndarray  # (M,) of the heading
    squared: np.ndarray  # (M,) normalised by the covariance: 6 on average where that is right

    def to_dict(self) -> dict[str, float]:
        """For eval.json."""
        return {
            "count": len(self.metres),
            "median_m": float(np.median(self.metres)),
            "p90_m": float(np.percentile(self.metres, 90)),
            "median_heading_deg": float(np.median(self.degrees)),
            "over_1_m": int((self.metres > 1).sum()),
            "normalised_squared": float(self.squared.mean()),
        }


def read_verified(path: Path) -> list[VerifiedMatch]:
    """The lines of a file, those of older runs too; none where there is no file. VprError naming a damaged line."""
    if not path.exists():
        return []
    found: list[VerifiedMatch] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(_of(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise VprError(f"'{path}' line {number} is no verification ({error}).") from None
    return found


def pose_errors(
    matches: Sequence[VerifiedMatch], T_true_query: np.ndarray, keyframes: Keyframes, T_true_keyframe: np.ndarray
) -> PoseErrors | None:
    """Errors of the measured poses, where both sides have a true one (M, 4, 4), (N, 4, 4); None without any."""
    rows = keyframes.rows_of([match.keyframe_id for match in matches])
    errors: list[tuple[float, float, float]] = []
    for match, T_query, row in zip(matches, T_true_query, rows, strict=True):
        if match.T_keyframe_query is None or match.covariance is None or row < 0:
            continue
        true = invert(T_true_keyframe[row]) @ T_query
        if not np.isfinite(true).all():
            continue
        turn = matrix_to_rotvec(match.T_keyframe_query[:3, :3] @ true[:3, :3].T)
        error = np.concatenate([match.T_keyframe_query[:3, 3] - true[:3, 3], turn])
        squared = float(error @ np.linalg.solve(match.covariance, error))
        errors.append((float(np.linalg.norm(error[:3])), float(np.degrees(abs(turn[2]))), squared))
    return PoseErrors(*np.array(errors).T) if errors else None


def _of(values: dict[str, Any]) -> VerifiedMatch:
    seven, covariance = values.get("T_keyframe_query"), values.get("covariance")
    return VerifiedMatch(
        int(values["stamp_ns"]),
        int(values["keyframe_id"]),
        bool(values["accepted"]),
        str(values.get("method", "lidar")),
        str(values["reason"]),
        float(values["agreement"]),
        None if seven is None else make_transform(seven[:3], seven[3:]),
        None if covariance is None else np.array(covariance, dtype=np.float64).reshape(6, 6),
        np.array(values.get("keypoints", ()), dtype=np.float64).reshape(-1, 4) / PER_MILLE,
    )
