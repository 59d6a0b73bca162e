"""How far a trajectory is from the truth, by evo."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.offline.evaluate_run import read_poses
from vpr_ros.sensors import Bag, Trajectory
from vpr_ros.sensors.bags.topics import is_ground_truth


@dataclass(frozen=True)
class TrueError:
    """Absolute trajectory error in metres: root mean square over `poses` poses after the best rigid alignment.

    `T_truth_estimate` (4, 4) is that alignment, without a scale.
    """

    rmse_m: float
    median_m: float
    max_m: float
    poses: int
    T_truth_estimate: np.ndarray


def true_poses(bag: str | Path, file: Path | None, topic: str | None) -> Trajectory | None:
    """The truth of a bag's drive: a TUM file, a topic, or the one topic whose name says so; None without any.

    Raises VprError for a file or topic that has no poses.
    """
    if file is not None:
        return Trajectory.from_tum(file)
    if topic is None:
        with Bag(bag) as opened:
            if sum(is_ground_truth(t.name) and bool(t.count) for t in opened.topics) != 1:
                return None
    return read_poses(bag, topic)


def true_error(estimate: Trajectory, truth: Trajectory, max_gap_s: float = 1.0) -> TrueError:
    """The error of the poses at whose stamps the truth is known, the truth being interpolated over at most `max_gap_s`.

    Raises VprError where evo is not installed and where fewer than three poses have a truth.
    """
    evo = load_evo()
    reference, known = truth.at_many(estimate.stamps_ns, max_gap_s)
    if known.sum() < 3:
        raise VprError(
            f"only {int(known.sum())} of {len(estimate)} poses have a true one at their time: is it the truth of this "
            "drive, and on the same clock?"
        )
    paths = [evo["trajectory"].PosePath3D(poses_se3=list(T[known])) for T in (reference, estimate.T)]
    R, t, _ = paths[1].align(paths[0], correct_scale=False)
    metric = evo["metrics"].APE(evo["metrics"].PoseRelation.translation_part)
    metric.process_data(tuple(paths))
    found = metric.get_all_statistics()
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return TrueError(found["rmse"], found["median"], found["max"], int(known.sum()), T)


def load_evo() -> dict[str, Any]:
    """The modules of evo that are used, by name. Raises VprError where it is not installed."""
    try:
        return {name: import_module(f"evo.core.{name}") for name in ("metrics", "trajectory")}
    except ImportError as error:
        raise VprError(
            f"errors against the truth need evo ({error}): pip install 'vpr_ros[slam]', with Python 3.11 or later"
        ) from error
