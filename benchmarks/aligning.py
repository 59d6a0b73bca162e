"""Two drives in one frame by LiDAR: errors of the relative poses of near frames, and how long `vpr_ros align` takes.

python benchmarks/aligning.py --out runs/aligning

Renders four drives of each area (day, night, dusk, and winter with another camera and a disturbed LiDAR), 400 m as in
docs/training.md, and aligns the last three with the first. Truth is `/ground_truth/pose`, which the alignment does not
see. Frames are near where their true positions are at most 5 m apart. "rigid" is one rigid transform for the whole
drive, that which most of the same constraints lie near; "graph" is what align writes.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from vpr_ros.geometry import invert, rotation_angle
from vpr_ros.offline.align import align_bags
from vpr_ros.offline.crossing import Crossing
from vpr_ros.sensors import Drive, DriveConfig, DriveTopics, Trajectory
from vpr_ros.training.synthetic import CameraConfig, LidarConfig, named_conditions, plan_drive, write_drive_bag
from vpr_ros.training.synthetic.conditions import hard_lidar, remounted_camera
from vpr_ros.training.synthetic.drive import START_NS
from vpr_ros.training.synthetic.kinds import kind_of

SEEDS = (1081, 101082, 201083)
LENGTH_M, SPACING_M, DAY_NS = 400.0, 1.0, 86_400_000_000_000
LANES_M = {"day": 0.0, "night": 0.5, "dusk": 0.3, "winter": -0.3}  # beside the middle of the lane
NEAR_M = 5.0
AGREE_M, AGREE_RAD = 2.0, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/aligning"), help="folder of the rendered bags")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    arguments = parser.parse_args()
    print(
        "area | drives | rigid: median, p90, max m | graph: median, p90, max m | p90 degrees | hold | gaps m | seconds"
    )
    for seed in arguments.seeds:
        bags = {name: rendered(arguments.out, seed, n, name) for n, name in enumerate(LANES_M)}
        first_truth, first_odometry = poses_of(bags["day"])
        for name in list(LANES_M)[1:]:
            started = time.perf_counter()
            result = align_bags(bags["day"], bags[name], "lidar")
            seconds = time.perf_counter() - started
            assert result.tie is not None
            truth, odometry = poses_of(bags[name])
            T_rigid = rigid(result.tie.crossing)
            before = errors(first_truth, truth, first_odometry, Trajectory(odometry.stamps_ns, T_rigid @ odometry.T))
            after = errors(first_truth, truth, first_odometry, result.trajectory)
            columns = [", ".join(f"{v:.2f}" for v in np.percentile(e[0], [50, 90, 100])) for e in (before, after)]
            hold = result.tie.hold
            print(
                f"{kind_of(seed)} {seed} | day, {name} | {columns[0]} | {columns[1]} | "
                f"{np.degrees(np.percentile(after[1], 90)):.1f} | {hold.holds.sum()} of {hold.constraints} | "
                f"{hold.length_m - hold.covered_m:.0f} of {hold.length_m:.0f} | {seconds:.0f}",
                flush=True,
            )


def rendered(folder: Path, seed: int, day: int, name: str) -> Path:
    """The bag of one drive, rendered where it is not there."""
    path = folder / f"{seed}_{name}"
    if not path.exists():
        camera, lidar = CameraConfig(width=240, height=180), LidarConfig()
        if name == "winter":
            camera, lidar = remounted_camera(camera, seed), hard_lidar(np.random.default_rng(seed))
        conditions = named_conditions(name, seed=10 * seed + day, lane_offset_m=LANES_M[name])
        drive = plan_drive(
            *(seed, conditions, camera, lidar),
            length_m=LENGTH_M,
            spacing_m=SPACING_M,
            start_ns=START_NS + day * DAY_NS,
        )
        write_drive_bag(path, drive, workers=1)
    return path


def poses_of(bag: Path) -> tuple[Trajectory, Trajectory]:
    """True poses and odometry at the stamps of a bag's pictures."""
    with Drive(bag, DriveTopics(pose="/ground_truth/pose"), DriveConfig()) as drive:
        found = [(o.stamp_ns, o.T_map_base, o.T_odom_base) for o in drive]
    whole = [(stamp, truth, odometry) for stamp, truth, odometry in found if truth is not None and odometry is not None]
    stamps = np.array([stamp for stamp, _, _ in whole])
    return Trajectory(stamps, np.array([t for _, t, _ in whole])), Trajectory(
        stamps, np.array([o for _, _, o in whole])
    )


def rigid(crossing: Crossing) -> np.ndarray:
    """T_first_second (4, 4) between both odometry frames that most constraints lie near."""
    votes = np.array(
        [
            crossing.first.T[c.first] @ c.T_first_second @ invert(crossing.second.T[c.second])
            for c in crossing.constraints
        ]
    )
    near = []
    for vote in votes:
        apart = invert(vote) @ votes
        turned = rotation_angle(np.eye(3), apart[:, :3, :3])
        near.append(((np.linalg.norm(apart[:, :3, 3], axis=1) <= AGREE_M) & (turned <= AGREE_RAD)).sum())
    return votes[int(np.argmax(near))]


def errors(
    first_truth: Trajectory, truth: Trajectory, first: Trajectory, second: Trajectory
) -> tuple[np.ndarray, np.ndarray]:
    """Metres and radians (K,) of the relative pose of each second frame and the nearest first one, within NEAR_M."""
    _, at, of_truth = np.intersect1d(second.stamps_ns, truth.stamps_ns, return_indices=True)
    apart = np.linalg.norm(truth.T[of_truth, None, :3, 3] - first_truth.T[None, :, :3, 3], axis=2)
    near, nearest = apart.min(axis=1) <= NEAR_M, apart.argmin(axis=1)
    i, j, k = nearest[near], of_truth[near], at[near]
    error = invert(invert(first_truth.T[i]) @ truth.T[j]) @ (invert(first.T[i]) @ second.T[k])
    return np.linalg.norm(error[:, :3, 3], axis=1), rotation_angle(np.eye(3), error[:, :3, :3])


if __name__ == "__main__":
    main()
