"""A drive through the core in slam mode: what each frame became, what it was recognised as, and what was verified."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.geometry import rotation_angle
from vpr_ros.observation import Observation
from vpr_ros.offline.loops.frames import LoopFrame, loop_frame
from vpr_ros.offline.stages import answered
from vpr_ros.runtime.answer import Answer
from vpr_ros.runtime.pipeline import Pipeline


@dataclass(frozen=True)
class Spacing:
    """Matches are verified after so much motion of odometry: neighbours say nearly the same, and each takes time."""

    metres: float = 1.0
    turn_rad: float = np.radians(15.0)


@dataclass
class Driven:
    """The frames of a drive so far."""

    frames: list[LoopFrame] = field(default_factory=list)
    accepted: int = 0
    tried: int = 0
    agreed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    first_errors: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def drive_through(
    pipeline: Pipeline,
    observations: Iterable[Observation],
    verified: Callable[[Answer], Answer],
    batch_size: int = 1,
    seen: Callable[[Answer], None] = lambda _: None,
    spacing: Spacing | None = None,
) -> Driven:
    """Answers every observation, and verifies accepted ones that lie apart by `spacing`.

    `verified` is given an accepted answer and returns it with what the geometry says; `seen` is called with each answer
    as it stands then. Frames that cannot be used are counted; KeyboardInterrupt ends the drive early (`interrupted`).
    """
    driven, spacing, last = Driven(), spacing or Spacing(), None
    try:
        with answered(pipeline, observations, batch_size) as answers:
            for answer in answers:
                if isinstance(answer, FrameError):
                    driven.skipped["frame unusable"] += 1
                    driven.first_errors.setdefault("frame unusable", str(answer))
                    continue
                T = answer.observation.T_odom_base
                if answer.match is not None:
                    driven.accepted += 1
                    if T is not None and _apart(last, T, spacing):
                        answer, last = verified(answer), T
                        driven.tried += answer.verified is not None
                frame = loop_frame(answer)
                driven.agreed += frame.metric
                driven.frames.append(frame)
                seen(answer)
                pipeline.idle()
    except KeyboardInterrupt:
        driven.interrupted = True
    return driven


def _apart(last: np.ndarray | None, now: np.ndarray, spacing: Spacing) -> bool:
    if last is None:
        return True
    turned = float(rotation_angle(last[:3, :3], now[:3, :3]))
    return bool(np.linalg.norm(now[:3, 3] - last[:3, 3]) >= spacing.metres) or turned >= spacing.turn_rad
