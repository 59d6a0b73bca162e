"""What the geometry says of accepted matches, as files: loop closures, and poses in the map."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.atomic import lasting_lines
from vpr_ros.evaluation.verified import CLOSURES, PER_MILLE
from vpr_ros.geometry import matrix_to_quaternion
from vpr_ros.runtime.answer import Answer
from vpr_ros.sensors.stamps import seconds_text
from vpr_ros.verification import Verified

POSES = "poses.txt"
MOST_KEYPOINTS = 60  # of a pair of pictures, written for the report


class VerifiedMatches:
    """Writes verifications, those that agree and those that do not, one line each, and the poses that were measured."""

    def __init__(self, append: Callable[[str], None], append_pose: Callable[[str], None] | None):
        self._append, self._append_pose = append, append_pose
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> dict[str, int]:
        """How many were tried, how many agreed, and how many have a pose, by method."""
        return dict(self._counts)

    def write(self, answer: Answer, T_map_query: tuple[np.ndarray, np.ndarray] | None) -> None:
        """One answer, with the pose (4, 4) of the query in the map and its covariance where there is one; no effect
        for an answer that was not verified."""
        match, verified = answer.match, answer.verified
        if match is None or verified is None:
            return
        self._counts["tried"] += 1
        self._counts["agreed"] += verified.accepted
        line: dict[str, Any] = {
            "stamp_ns": answer.observation.stamp_ns,
            "keyframe_id": match.keyframe_id,
            "accepted": verified.accepted,
            "method": verified.method,
            "reason": verified.reason,
            "agreement": round(verified.agreement, 4),
        }
        if verified.metric and verified.T_keyframe_query is not None and verified.covariance is not None:
            self._counts[f"posed by {verified.method}"] += 1
            line["T_keyframe_query"] = _seven(verified.T_keyframe_query)
            line["covariance"] = verified.covariance.reshape(-1).tolist()
            if T_map_query is not None and self._append_pose is not None:
                numbers = " ".join(f"{value:.6f}" for value in _seven(T_map_query[0]))
                self._append_pose(f"{seconds_text(answer.observation.stamp_ns)} {numbers}")
        if verified.accepted and (keypoints := _keypoints(verified)):
            line["keypoints"] = keypoints
        self._append(json.dumps(line))

    def sentence(self, accepted: int) -> str:
        """For people; `accepted` is the number of accepted frames."""
        counts = self._counts
        if not accepted:
            return "verification: nothing was accepted, so nothing was verified"
        if not counts["tried"]:
            return f"verification: none of the {accepted} accepted matches has something to compare on both sides"
        by = [f"{counts[key]} {key}" for key in ("posed by camera", "posed by lidar") if counts[key]]
        return (
            f"verification: {counts['agreed']} of {counts['tried']} matches agree"
            f"{', ' + ', '.join(by) if by else ', none with a measured pose'}"
        )


@contextmanager
def verified_matches(out: Path, wanted: bool, poses: bool = True) -> Iterator[VerifiedMatches | None]:
    """A VerifiedMatches that writes OUT/loop_closures.jsonl and, with `poses`, OUT/poses.txt; None where not wanted.

    A line's `T_keyframe_query` is x y z qx qy qz qw of the query's base in the keyframe's, `covariance` its 6x6 rows
    in the order x y z rotX rotY rotZ; both are there only where a pose was measured. `keypoints` are some of those
    that agree: x y in the query's picture, x y in the keyframe's, in thousandths of their sides. poses.txt is in TUM's
    format: the stamp in seconds and x y z qx qy qz qw of the base in the map, measured poses only.
    """
    if not wanted:
        yield None
        return
    with ExitStack() as stack:
        append = stack.enter_context(lasting_lines(out / CLOSURES))
        yield VerifiedMatches(append, stack.enter_context(lasting_lines(out / POSES)) if poses else None)


def _seven(T: np.ndarray) -> list[float]:
    return [*T[:3, 3].tolist(), *matrix_to_quaternion(T[:3, :3]).tolist()]


def _keypoints(verified: Verified) -> list[list[int]]:
    """An even choice of the keypoints that agree."""
    if verified.places is None or not len(verified.places):
        return []
    rows = np.linspace(0, len(verified.places) - 1, min(len(verified.places), MOST_KEYPOINTS)).round().astype(int)
    return (verified.places[rows] * PER_MILLE).round().astype(int).tolist()
