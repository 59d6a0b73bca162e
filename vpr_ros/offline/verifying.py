"""What LiDAR says of accepted matches, as a file: those that agree have a relative pose and a covariance."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vpr_ros.atomic import lasting_lines
from vpr_ros.geometry import matrix_to_quaternion
from vpr_ros.runtime.answer import Answer

FILE = "loop_closures.jsonl"


class LoopClosures:
    """Writes registrations, those that agree and those that do not, one line each."""

    def __init__(self, append: Callable[[str], None]):
        self._append = append
        self.tried = self.agreed = 0

    def write(self, answer: Answer) -> None:
        """No effect for an answer that was not verified."""
        match, verified = answer.match, answer.verified
        if match is None or verified is None:
            return
        self.tried += 1
        self.agreed += verified.accepted
        line: dict[str, Any] = {
            "stamp_ns": answer.observation.stamp_ns,
            "keyframe_id": match.keyframe_id,
            "accepted": verified.accepted,
            "reason": verified.reason,
            "agreement": verified.agreement,
        }
        if verified.accepted and verified.T_keyframe_query is not None and verified.covariance is not None:
            T = verified.T_keyframe_query
            line["T_keyframe_query"] = [*T[:3, 3].tolist(), *matrix_to_quaternion(T[:3, :3]).tolist()]
            line["covariance"] = verified.covariance.reshape(-1).tolist()
        self._append(json.dumps(line))


@contextmanager
def loop_closures(out: Path, wanted: bool) -> Iterator[LoopClosures | None]:
    """A LoopClosures that writes OUT/loop_closures.jsonl, or None where it is not wanted.

    A line's `T_keyframe_query` is x y z qx qy qz qw of the query's base in the keyframe's, `covariance` its 6x6 rows
    in the order x y z rotX rotY rotZ; both are there only where `accepted`.
    """
    if not wanted:
        yield None
        return
    with lasting_lines(out / FILE) as append:
        yield LoopClosures(append)
