"""CPU time of registering two clouds, beside a chain of Open3D's parts: FPFH with RANSAC, then generalised ICP.

    OMP_NUM_THREADS=1 python benchmarks/registration.py FIRST.bin SECOND.bin

Files of KITTI's scans: x, y, z and intensity, float32. The second is registered with the first without a guess (with
kiss-matcher and without), and from a guess that is 0.1 m and half a degree off, as a camera's pose may be. Both chains
begin with the raw clouds, and run in turn; figures are medians. The agreement is counted by `verify_clouds` alone.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open3d as o3d

from vpr_ros.geometry import planar_transform, rotation_angle
from vpr_ros.verification.lidar import VerificationConfig, verify_clouds

COARSE_M, FINE_M, REACH_M = 1.0, 0.3, 0.45  # as `verify_clouds` has them
RANSAC_ITERATIONS = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clouds", type=Path, nargs=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    keyframe, query = (np.fromfile(path, "<f4").reshape(-1, 4)[:, :3] for path in arguments.clouds)
    bare = VerificationConfig(kiss_matcher=False)
    first = verify_clouds(query, keyframe)
    assert first.T_keyframe_query is not None
    guess = first.T_keyframe_query @ planar_transform(0.1, 0.05, np.radians(0.5))
    ways: dict[str, Callable[[], np.ndarray | None]] = {
        "Open3D chain": lambda: open3d_chain(query, keyframe),
        "small_gicp, no guess, kiss-matcher": lambda: verify_clouds(query, keyframe).T_keyframe_query,
        "small_gicp, no guess": lambda: verify_clouds(query, keyframe, config=bare).T_keyframe_query,
        "small_gicp, from a guess": lambda: verify_clouds(query, keyframe, guess).T_keyframe_query,
    }
    seconds, found = {name: list[float]() for name in ways}, dict[str, np.ndarray]()
    for turn in range(arguments.repeats + 1):  # the first one warms up
        for name, way in ways.items():
            started = time.process_time()
            T = way()
            spent = time.process_time() - started
            assert T is not None
            found[name] = T
            if turn:
                seconds[name].append(spent)
    print(f"accepted: {first.accepted} ({first.reason}), agreement {first.agreement:.3f}")
    reference = found["Open3D chain"]
    full = float(np.median(seconds["Open3D chain"]))
    for name, T in found.items():
        spent = float(np.median(seconds[name]))
        apart_m = np.linalg.norm(T[:3, 3] - reference[:3, 3])
        degrees = np.degrees(rotation_angle(T[:3, :3], reference[:3, :3]))
        print(f"{name}: {spent:.2f} s of CPU, {spent / full:.2f}, {1e3 * apart_m:.0f} mm and {degrees:.3f} deg apart")


def open3d_chain(query: np.ndarray, keyframe: np.ndarray) -> np.ndarray:
    """T_keyframe_query (4, 4): both starts, RANSAC's and the identity, are refined, and the better fit is taken."""
    registration: Any = o3d.pipelines.registration
    search = o3d.geometry.KDTreeSearchParamHybrid(radius=5 * COARSE_M, max_nn=100)
    small = [thinned(points, COARSE_M) for points in (query, keyframe)]
    features = [registration.compute_fpfh_feature(cloud, search) for cloud in small]
    o3d.utility.random.seed(0)
    coarse = registration.registration_ransac_based_on_feature_matching(
        small[0],
        small[1],
        features[0],
        features[1],
        True,
        1.5 * COARSE_M,
        registration.TransformationEstimationPointToPoint(False),
        3,
        [
            registration.CorrespondenceCheckerBasedOnEdgeLength(0.9),
            registration.CorrespondenceCheckerBasedOnDistance(1.5 * COARSE_M),
        ],
        registration.RANSACConvergenceCriteria(RANSAC_ITERATIONS, 0.999),
    )
    fine = [thinned(points, FINE_M) for points in (query, keyframe)]
    fits = []
    for T in (np.asarray(coarse.transformation), np.eye(4)):
        for reach_m in (4 * REACH_M, REACH_M):
            fit = registration.registration_generalized_icp(
                fine[0],
                fine[1],
                reach_m,
                T,
                registration.TransformationEstimationForGeneralizedICP(),
                registration.ICPConvergenceCriteria(max_iteration=50),
            )
            T = np.asarray(fit.transformation)
        fits.append(fit)
    return np.asarray(max(fits, key=lambda fit: fit.fitness).transformation)


def thinned(points: np.ndarray, voxel_m: float) -> o3d.geometry.PointCloud:
    """The cloud (N, 3) thinned, with normals."""
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64))).voxel_down_sample(voxel_m)
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(radius=5 * voxel_m, max_nn=30))
    return cloud


if __name__ == "__main__":
    main()
