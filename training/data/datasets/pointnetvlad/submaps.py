"""PointNetVLAD's submaps from raw scans and poses: 20 m of a push-broom laser as 4096 points (METHODS §6.1).

Which scans, which windows, ground removal, filtering to exactly 4096 points, and the published normalisation. The steps
are the published ones; what the publication leaves open is decided here and noted at the place. All random choices are
seeded by the submap's stamp.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.sensors.clouds import cell_means, cell_numbers
from vpr_ros.sensors.poses.trajectory import travelled


@dataclass(frozen=True)
class SubmapConfig:
    """The published settings. Training submaps start every 10 m, test submaps every 20 m (`every_m`)."""

    length_m: float = 20.0
    every_m: float = 10.0
    step_m: float = 0.025  # a scan is taken after this much travel ...
    step_rad: float = float(np.radians(30))  # ... or this much turning
    points: int = 4096
    ground_m: float = 0.5  # points at most this far from the ground plane are removed
    ground_tilt_rad: float = float(np.radians(15))  # largest tilt of a ground plane
    cell_m: float = 1.001  # first voxel size of the search
    cell_step_m: float = 0.025
    max_jump_m: float = 5.0  # scans further apart do not belong into one submap (a chunk that was not fetched)


@dataclass(frozen=True)
class Submap:
    """One normalised submap: `points` = -(metric - centroid) * scale."""

    points: np.ndarray  # (4096, 3) float64 in [-1, 1]
    centroid: np.ndarray  # (3,) metres, in the frame of the metric points
    scale: float  # per metre


def scan_rows(T: np.ndarray, config: SubmapConfig) -> np.ndarray:
    """Indices of the poses (N, 4, 4) at which a scan is taken: the first, then after each step or turn since."""
    taken: list[int] = []
    cosine = np.cos(config.step_rad)
    position, R = T[:, :3, 3], T[:, :3, :3]
    for i in range(len(T)):
        if taken:
            last = taken[-1]
            moved = np.sqrt(((position[i] - position[last]) ** 2).sum()) >= config.step_m
            # The trace of the relative rotation is 1 + 2 cos(angle).
            if not moved and ((R[i] * R[last]).sum() - 1) / 2 > cosine:
                continue
        taken.append(i)
    return np.array(taken, np.int64)


def submap_windows(T: np.ndarray, config: SubmapConfig) -> list[tuple[int, int]]:
    """Submaps as ranges [start, stop) of the taken poses (M, 4, 4): travel [k * every, k * every + length).

    Windows that the drive does not fill are left out, and none spans a jump.
    """
    found: list[tuple[int, int]] = []
    jumps = np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1) > config.max_jump_m
    bounds = [0, *(np.flatnonzero(jumps) + 1).tolist(), len(T)]
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        if last - first < 2:
            continue
        distance = travelled(T[first:last])
        starts = np.arange(0.0, distance[-1] - config.length_m + 1e-9, config.every_m)
        begin = np.searchsorted(distance, starts - 1e-9) + first
        end = np.searchsorted(distance, starts + config.length_m - 1e-9) + first
        found += [(int(a), int(b)) for a, b in zip(begin, end, strict=True)]
    return found


def ground_mask(points: np.ndarray, config: SubmapConfig, rng: np.random.Generator, trials: int = 200) -> np.ndarray:
    """Which of the points (N, 3), z up or down, lie within `ground_m` of the ground plane, (N,) bool.

    RANSAC over planes of at most `ground_tilt_rad` from level, scored on at most 4000 points, then fitted to all
    inliers by least squares. (The publication names the distance; plane search and tilt are ours.)
    """
    none = np.zeros(len(points), bool)
    if len(points) < 3:
        return none
    sample = points[rng.choice(len(points), 4000, replace=False)] if len(points) > 4000 else points
    corners = sample[rng.integers(0, len(sample), (trials, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    level = np.abs(normals[:, 2]) >= np.cos(config.ground_tilt_rad) * lengths
    usable = level & (lengths > 1e-9)
    if not usable.any():
        return none
    normals = normals[usable] / lengths[usable, None]
    offsets = (normals * corners[usable, 0]).sum(axis=1)
    counts = (np.abs(sample @ normals.T - offsets) <= config.ground_m).sum(axis=0)
    best = int(np.argmax(counts))
    inliers = np.abs(points @ normals[best] - offsets[best]) <= config.ground_m
    centre = points[inliers].mean(axis=0)
    fitted = np.linalg.svd(np.cov((points[inliers] - centre).T))[0][:, 2] if inliers.sum() > 3 else normals[best]
    if abs(fitted[2]) < np.cos(config.ground_tilt_rad):
        return inliers
    return np.abs((points - centre) @ fitted) <= config.ground_m


def thin(points: np.ndarray, config: SubmapConfig) -> np.ndarray:
    """At most `points` cell means: the cell size grows or shrinks in steps from `cell_m` to the largest such number.

    Growing ends with the first size that is coarse enough, shrinking with the last before one that is too fine.
    """
    if len(points) <= config.points:
        return points
    size, corner = config.cell_m, points.min(axis=0)

    def count(cell_m: float) -> int:
        return len(np.unique(cell_numbers(points, cell_m, corner)))

    if count(size) > config.points:
        while count(size) > config.points:
            size += config.cell_step_m
    else:
        while size - config.cell_step_m > 1e-3 and count(size - config.cell_step_m) <= config.points:
            size -= config.cell_step_m
    return cell_means(points, size, corner)


def without_ground(points: np.ndarray, config: SubmapConfig, rng: np.random.Generator) -> np.ndarray:
    """The finite points (M, 3) float64 that are not ground. Raises FrameError where there is none."""
    points = np.asarray(points, np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    above = points[~ground_mask(points, config, rng)]
    if not len(above):
        raise FrameError("a submap has no point beside the ground")
    return above


def with_exact_count(above: np.ndarray, config: SubmapConfig, rng: np.random.Generator) -> np.ndarray:
    """Points (config.points, 3): thinned, then filled with random points of `above` (M, 3).

    A point is drawn twice only where there are too few.
    """
    kept = thin(above, config)
    return np.concatenate([kept, above[_draw(len(above), config.points - len(kept), rng)]])


def _draw(available: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    once = rng.permutation(available)[:wanted]
    return np.concatenate([once, rng.integers(0, available, wanted - len(once))]).astype(np.int64)


def normalise(points: np.ndarray, spare: np.ndarray, rng: np.random.Generator) -> Submap:
    """Shift, scale and negate points (N, 3) in metres; those that fall outside [-1, 1] are replaced by `spare` ones.

    The published clouds have x forward, y right, z down before the sign is flipped: networks trained on them get x
    backward, y left, z up, a mirror image. Spare points (M, 3) are metric; where none of them falls inside, the points'
    own inner ones are used.
    """
    centroid = points.mean(axis=0)
    spread = np.linalg.norm(points - centroid, axis=1).mean()
    scale = 0.5 / spread if spread > 0 else 1.0
    out, spare = -(points - centroid) * scale, -(spare - centroid) * scale
    outside = (np.abs(out) > 1).any(axis=1)
    inner = spare[(np.abs(spare) <= 1).all(axis=1)]
    inner = inner if len(inner) else out[~outside]
    out[outside] = inner[rng.integers(0, len(inner), int(outside.sum()))]
    return Submap(out, centroid, float(scale))


def make_submap(points: np.ndarray, seed, config: SubmapConfig | None = None) -> Submap:
    """Normalised submap of metric points (N, 3), x forward, y right, z down; `seed`: integers, e.g. the stamp.

    Raises FrameError where the points are nothing but ground.
    """
    config, rng = config or SubmapConfig(), np.random.default_rng(seed)
    above = without_ground(points, config, rng)
    return normalise(with_exact_count(above, config, rng), above, rng)


def assemble(scans: Sequence[np.ndarray], T_ref_lidar: np.ndarray) -> np.ndarray:
    """Points (N, 3) float64 of scans [(n_i, >= 3)] in one frame, by each scan's pose (M, 4, 4) in it."""
    if len(scans) != len(T_ref_lidar):
        raise ValueError(f"{len(scans)} scans for {len(T_ref_lidar)} poses")
    if not scans:
        raise VprError("a submap needs at least one scan")
    parts = [
        np.asarray(scan[:, :3], np.float64) @ T[:3, :3].T + T[:3, 3] for scan, T in zip(scans, T_ref_lidar, strict=True)
    ]
    return np.concatenate(parts)
