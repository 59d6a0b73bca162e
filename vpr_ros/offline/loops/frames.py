"""What is kept of each answered frame until the drive is over."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.runtime.answer import Answer


@dataclass(frozen=True, slots=True)
class LoopFrame:
    """One frame: where odometry had it, and the keyframe that it was accepted at.

    `T_keyframe_query` (4, 4) and `covariance` (6, 6), as in `vpr_ros.verification.Verified`, are there where a
    verification measured a pose. `keyframe` is the id of the keyframe that the frame itself became.
    """

    stamp_ns: int
    T_odom_base: np.ndarray | None = None
    keyframe_id: int | None = None
    probability: float = 0.0
    T_keyframe_query: np.ndarray | None = None
    covariance: np.ndarray | None = None
    keyframe: int | None = None

    @property
    def metric(self) -> bool:
        """Whether the closure has a measured relative pose."""
        return self.T_keyframe_query is not None and self.covariance is not None


def loop_frame(answer: Answer) -> LoopFrame:
    """The part of an answer that loop closures are made of."""
    match, verified, T = answer.match, answer.verified, answer.observation.T_odom_base
    usable = T is not None and np.isfinite(T).all()
    agreed = verified if verified is not None and verified.metric else None
    return LoopFrame(
        answer.observation.stamp_ns,
        T if usable else None,
        None if match is None else match.keyframe_id,
        0.0 if match is None else match.probability,
        None if agreed is None else agreed.T_keyframe_query,
        None if agreed is None else agreed.covariance,
        answer.keyframe_id,
    )
