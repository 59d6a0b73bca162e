"""How good the depth at keypoints is, on rendered streets, where casting a ray tells it exactly.

A keyframe every 2 m of rendered drives, 320x240 pixels and 78 degrees wide, in worlds that nothing was developed on.
Each keypoint's depth is compared with that of the ray through it: of a keypoint on a silhouette, half a pixel decides
between the near surface and the far one, and such errors count here. "clean" is a LiDAR of 16 beams, "disturbed" one
with a mounting error, lorries that the pictures do not show, and motion within a revolution (`hard_lidar`); the depth
image is the exact depth up to 10 m, with noise of 1 % and whole millimetres; triangulation has odometry that drifts.

    OMP_NUM_THREADS=1 python benchmarks/keypoint_depth.py -o depth.json
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from vpr_ros.local_features import LocalFeatures, open_local_features
from vpr_ros.local_features.depth import depth_from_cloud, depth_from_image
from vpr_ros.local_features.triangulation import Triangulator
from vpr_ros.runtime.threads import use_threads
from vpr_ros.sensors.clouds import transformed
from vpr_ros.training.synthetic import CameraConfig, LidarConfig, named_conditions, plan_drive
from vpr_ros.training.synthetic.bags import camera_of
from vpr_ros.training.synthetic.conditions import hard_lidar

CITIES = (2090, 2091, 2092, 102090, 202090)
LOOKS = ("day", "night", "winter")
SPACING_M = 2.0
REACH_M, NOISE = 10.0, 0.01  # of the depth camera


def exact_depth(drive, index: int, features: LocalFeatures) -> np.ndarray:
    """Depth (N,) along the optical axis of the surfaces behind keypoints, infinite for the sky."""
    assert features.rays is not None and features.T_base_camera is not None
    rays = np.column_stack([features.rays, np.ones(len(features))])
    length = np.linalg.norm(rays, axis=1)
    T = drive.T_city_base[index] @ features.T_base_camera
    scene = drive.scene(int(drive.cities[index]))
    hits = scene.cast(T[:3, 3], (rays / length[:, None] @ T[:3, :3].T).astype(np.float32))
    return hits["t_hit"] / length


def depth_picture(drive, index: int, features: LocalFeatures, rng: np.random.Generator) -> np.ndarray:
    """Depth image (H, W) float32 of a depth camera in the camera's place."""
    width, height = features.size
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float32)
    everywhere = LocalFeatures("", features.size, pixels, pixels[:, 0], pixels, features.camera, features.T_base_camera)
    depth = exact_depth(drive, index, everywhere)
    depth *= 1 + NOISE * rng.normal(size=len(depth))
    depth = np.where(depth < REACH_M, np.round(depth, 3), np.nan)
    return depth.reshape(height, width).astype(np.float32)


def measured(city: int, look: str, keyframes: int, seconds: dict[str, list[float]]) -> dict[str, np.ndarray]:
    """Relative errors of all keypoints by method, NaN where a keypoint got no depth."""
    camera, lidars = CameraConfig(320, 240), {"LiDAR, clean": LidarConfig()}
    lidars["LiDAR, disturbed"] = hard_lidar(np.random.default_rng(city))
    drives = {
        name: plan_drive(
            city, named_conditions(look, seed=city), camera, lidar, length_m=keyframes * SPACING_M, spacing_m=SPACING_M
        )
        for name, lidar in lidars.items()
    }
    first = drives["LiDAR, clean"]
    extractor, triangulator, rng = open_local_features("xfeat"), Triangulator(), np.random.default_rng(city)
    assert extractor is not None
    errors: dict[str, list[np.ndarray]] = {}
    for index in range(keyframes):
        frame = first.frame(index)
        (bare,) = extractor.extract([frame.image])
        features = LocalFeatures(
            bare.kind,
            bare.size,
            bare.pixels,
            bare.scores,
            bare.descriptors,
            camera_of(camera),
            first.T_base_cameralink @ first.T_cameralink_optical,
        )
        truth = exact_depth(first, index, features)
        clouds = {name: np.asarray(drive.frame(index).cloud) for name, drive in drives.items()}
        by_cloud = {
            name: partial(depth_from_cloud, features, transformed(clouds[name], drives[name].T_base_lidar))
            for name in lidars
        }
        ways: dict[str, Callable[[], np.ndarray | None]] = {
            **by_cloud,
            "depth image, 10 m": partial(depth_from_image, features, depth_picture(first, index, features, rng)),
            "triangulation": partial(triangulator.depth, features, first.T_odom_base[index]),
        }
        for name, way in ways.items():
            started = time.process_time()
            found = way()
            if found is None:  # the first keyframe
                continue
            seconds.setdefault(name, []).append(time.process_time() - started)
            there = np.isfinite(found)
            error = np.full(len(found), np.nan)
            sky = ~np.isfinite(truth)
            error[there] = np.where(sky, np.inf, np.abs(found - np.where(sky, 1, truth)) / np.where(sky, 1, truth))[
                there
            ]
            errors.setdefault(name, []).append(error)
        triangulator.add(features, first.T_odom_base[index])
    return {name: np.concatenate(found) for name, found in errors.items()}


def row(errors: np.ndarray) -> dict[str, float]:
    """Share of keypoints with depth, and of those the errors."""
    known = errors[~np.isnan(errors)]
    return {
        "share": len(known) / len(errors),
        "median": float(np.median(known)) if len(known) else float("nan"),
        "over_10_percent": float((known > 0.1).mean()) if len(known) else float("nan"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cities", type=int, nargs="+", default=CITIES)
    parser.add_argument("--looks", nargs="+", default=LOOKS)
    parser.add_argument("--keyframes", type=int, default=30)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    use_threads(0, (1, 1), 1, 1)
    rows: list[dict[str, object]] = []
    seconds: dict[str, list[float]] = {}
    for city in args.cities:
        for look in args.looks:
            for method, errors in measured(city, look, args.keyframes, seconds).items():
                rows.append({"city": city, "look": look, "method": method, **row(errors)})
            print(city, look, flush=True)
    print(f"{'method':20s}{'look':8s}{'share':>16s}{'median error':>18s}{'over 10 %':>16s}{'CPU ms':>8s}")
    for method in dict.fromkeys(str(r["method"]) for r in rows):
        for look in args.looks:
            of = [r for r in rows if (r["method"], r["look"]) == (method, look)]
            texts = []
            for key in ("share", "median", "over_10_percent"):
                values = np.array([r[key] for r in of], dtype=np.float64)
                texts.append(f"{values.mean():.3f} ± {values.std(ddof=min(1, len(values) - 1)):.3f}")
            print(
                f"{method:20s}{look:8s}"
                + "".join(f"{t:>17s}" for t in texts)
                + f"{1e3 * np.mean(seconds[method]):8.1f}"
            )
    if args.output:
        args.output.write_text(json.dumps({"rows": rows, "cpu_s": {k: float(np.mean(v)) for k, v in seconds.items()}}))


if __name__ == "__main__":
    main()
