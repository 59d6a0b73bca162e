"""Camera-only poses in a map that a robot with a LiDAR made: rendered cities, through `map_bag` and `localize_bag`.

Synthetic. Each test city is mapped once, by day, with a 16-beam LiDAR (`--depth lidar`: the depth of keypoints; the
clouds are kept for the rows of `--verify lidar`), and driven again by day, at dusk, at night, in winter and in rain
with the same camera, by day, at night and in winter with another one: pictures of 320x240, every 2 m, 320 m, 0.3 to
0.5 m beside the mapped lane. Thresholds and noises were chosen on the validation city 1070, never on these.

    python benchmarks/poses.py --out runs/poses
    python benchmarks/poses.py --out runs/poses --verify lidar --conditions day winter
    python benchmarks/poses.py --out runs/poses --depth odometry     # mapped without LiDAR: triangulated
    python benchmarks/poses.py --out runs/poses --depth image        # by a depth camera that reaches 10 m
    python benchmarks/poses.py --out runs/poses --cpu                # CPU milliseconds of each stage instead
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from keypoint_depth import depth_picture

from vpr_ros.errors import FrameError
from vpr_ros.evaluation.verified import CLOSURES
from vpr_ros.geometry import invert, make_transform, matrix_to_rotvec
from vpr_ros.local_features import LocalFeatures
from vpr_ros.offline.evaluate_run import read_poses
from vpr_ros.offline.localize_bag import LocalizeBagConfig, localize_bag
from vpr_ros.offline.map_bag import MapBagConfig, map_bag
from vpr_ros.place_map import PlaceMap
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.opening import DriveFacts, load_extractor
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PipelineConfig, Verify
from vpr_ros.sensors import Drive, DriveTopics, Trajectory
from vpr_ros.training.synthetic import (
    CameraConfig,
    LidarConfig,
    named_conditions,
    plan_drive,
    remounted_camera,
    write_drive_bag,
)
from vpr_ros.training.synthetic.bags import TRUTH_TOPIC
from vpr_ros.training.synthetic.drive import START_NS
from vpr_ros.training.synthetic.drive import Drive as SyntheticDrive

SEEDS = (2070, 2071, 2072, 2073, 2074)
CAMERA = CameraConfig(width=320, height=240)
LENGTH_M, SPACING_M, DAY_NS = 320.0, 2.0, 86_400_000_000_000
WRONG_M = 1.0
# Name -> condition, metres beside the mapped lane, number of the drive's noise, whether another camera.
DRIVES = {
    "map": ("day", 0.0, 0, False),
    "day": ("day", -0.3, 1, False),
    "dusk": ("dusk", 0.4, 2, False),
    "night": ("night", 0.5, 3, False),
    "winter": ("winter", -0.4, 4, False),
    "rain": ("rain", 0.3, 5, False),
    "day_other": ("day", -0.3, 6, True),
    "night_other": ("night", 0.5, 8, True),
    "winter_other": ("winter", -0.4, 9, True),
}
CPU_FRAMES = 60


@dataclass(frozen=True)
class Errors:
    """Of one drive: row by row of its measured poses."""

    accepted: int
    metres: np.ndarray  # (M,) of the position
    degrees: np.ndarray  # (M,) of the heading
    squared: np.ndarray  # (M,) normalised by the covariance
    off_map: int  # accepted at a place that is not within the radius

    def row(self) -> list[float]:
        """Posed share, median and p90 position, heading, share of wrong poses, mean and median normalised squared."""
        if not len(self.metres):
            return [0.0, *[float("nan")] * 6]
        wrong = self.metres > WRONG_M
        return [
            len(self.metres) / max(self.accepted, 1),
            float(np.median(self.metres)),
            float(np.percentile(self.metres, 90)),
            float(np.median(self.degrees)),
            float(wrong.sum() / max(self.accepted, 1)),
            float(self.squared.mean()),
            float(np.median(self.squared)),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/poses"), help="folder of bags, maps and runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--verify", default="camera", choices=[v for v in get_args(Verify) if v != "none"])
    parser.add_argument("--depth", default="lidar", choices=("lidar", "odometry", "image"))
    parser.add_argument("--features", default="auto", choices=("auto", "xfeat", "sift"))
    parser.add_argument("--conditions", nargs="+", default=[name for name in DRIVES if name != "map"])
    parser.add_argument("--every", type=int, default=1, help="ask with every n-th picture of a drive")
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    config = PipelineConfig(device="cpu", threads=1, local_features=arguments.features, verify=arguments.verify)
    extractor = load_extractor(config)
    print(f"verified by {arguments.verify}, depth by {arguments.depth}, {arguments.features} features", flush=True)
    found: dict[str, list[Errors]] = {name: [] for name in arguments.conditions}
    for seed in arguments.seeds:
        map_path = mapped(arguments.out, seed, arguments.depth, arguments.features, extractor)
        for name in arguments.conditions:
            bag = rendered(arguments.out, seed, name)
            if arguments.cpu:
                print(seed, name, cpu_ms(bag, map_path, config, extractor), flush=True)
                continue
            run = arguments.out / "runs" / f"{map_path.stem}_{name}_{arguments.verify}"
            truth = read_poses(bag, TRUTH_TOPIC)
            how = LocalizeBagConfig(
                verify=config.verify,
                local_features=config.local_features,
                only_stamps=frozenset(truth.stamps_ns[:: arguments.every].tolist()),
            )
            result = localize_bag(bag, map_path, run, extractor, how)
            errors = errors_of(run, map_path, truth, result.counts["accepted"])
            found[name].append(errors)
            said = f"{result.frames} frames, {errors.accepted} accepted, {short(errors.row())}"
            print(f"{seed} {name}: {said}", flush=True)
    if not arguments.cpu:
        table(found)


def planned(seed: int, name: str) -> SyntheticDrive:
    """One drive, not yet rendered."""
    look, lane_m, noise, other = DRIVES[name]
    camera = remounted_camera(CAMERA, seed + 7) if other else CAMERA
    return plan_drive(
        seed,
        named_conditions(look, seed=100 * seed + noise, lane_offset_m=lane_m),
        camera,
        LidarConfig(),
        length_m=LENGTH_M,
        spacing_m=SPACING_M,
        start_ns=START_NS + noise * DAY_NS,
    )


def rendered(out: Path, seed: int, name: str) -> Path:
    """The bag of one drive, rendered where it is not there."""
    path = out / "bags" / f"{seed}_{name}"
    if not path.exists():
        write_drive_bag(path, planned(seed, name), workers=1)
    return path


def mapped(out: Path, seed: int, depth: str, features: str, extractor) -> Path:
    """The map of a city, by true poses; made where it is not there."""
    path = out / "maps" / f"{seed}_{depth}_{features}.vpr"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        lidar = depth == "lidar"
        topics = DriveTopics(pose=TRUTH_TOPIC, points=None if lidar else "none")
        bag = rendered(out, seed, "map")
        if depth == "image":
            keyframes = mapped_by_depth_images(bag, seed, path, features, extractor)
        else:
            config = MapBagConfig(topics=topics, clouds=lidar, local_features=features)
            keyframes = map_bag(bag, path, extractor, config).keyframes
        with PlaceMap.open(path) as place_map:
            known = [f.has_depth.mean() for k in place_map.poses().ids if (f := place_map.features(int(k))) is not None]
        print(f"{seed}: {keyframes} keyframes, depth at {np.mean(known):.2f} of the keypoints", flush=True)
    return path


def mapped_by_depth_images(bag: Path, seed: int, path: Path, features: str, extractor) -> int:
    """Maps the bag with a depth image beside each picture, which it does not have; returns the number of keyframes."""
    drive, rng = planned(seed, "map"), np.random.default_rng(seed)
    index_of = {int(stamp): index for index, stamp in enumerate(drive.stamps_ns)}
    core = PipelineConfig(map_path=path, mode="map", device="cpu", threads=1, local_features=features)
    topics = DriveTopics(pose=TRUTH_TOPIC, points="none")
    with Drive(bag, topics) as pictures, Pipeline.open(core, Health(), extractor, DriveFacts(None, True)) as pipeline:
        for observation in pictures:
            height, width = observation.image.shape[:2]
            of = observation.camera, observation.T_base_camera
            nothing = np.zeros((0, 2), np.float32)
            view = LocalFeatures("", (width, height), nothing, nothing[:, 0], nothing, *of)
            depth = depth_picture(drive, index_of[observation.stamp_ns], view, rng)
            pipeline.process(replace(observation, depth=depth))
        pipeline.save()
        return pipeline.saved


def errors_of(run: Path, map_path: Path, truth: Trajectory, accepted: int) -> Errors:
    """The measured poses of a run against the truth, by the keyframes' true poses, which the map has."""
    with PlaceMap.open(map_path) as place_map:
        keyframes, radius = place_map.poses(), place_map.place_radius_m
    lines = [json.loads(line) for line in (run / CLOSURES).read_text().splitlines()]
    T_true, known = truth.at_many(np.array([line["stamp_ns"] for line in lines], np.int64))
    metres, degrees, squared, elsewhere = [], [], [], 0
    for line, T, there in zip(lines, T_true, known, strict=True):
        T_keyframe = keyframes.T_map_base[keyframes.rows_of(line["keyframe_id"])]
        elsewhere += bool(there and np.linalg.norm(T[:3, 3] - T_keyframe[:3, 3]) > radius)
        if not there or "T_keyframe_query" not in line:
            continue
        seven = line["T_keyframe_query"]
        found, true = make_transform(seven[:3], seven[3:]), invert(T_keyframe) @ T
        error = np.concatenate([found[:3, 3] - true[:3, 3], matrix_to_rotvec(found[:3, :3] @ true[:3, :3].T)])
        metres.append(float(np.linalg.norm(error[:3])))
        degrees.append(float(np.degrees(abs(error[5]))))
        squared.append(float(error @ np.linalg.solve(np.reshape(line["covariance"], (6, 6)), error)))
    return Errors(accepted, np.array(metres), np.array(degrees), np.array(squared), elsewhere)


def cpu_ms(bag: Path, map_path: Path, config: PipelineConfig, extractor) -> str:
    """Mean CPU milliseconds of a frame, stage by stage, in this thread."""
    spent = dict.fromkeys(("descriptor and search", "keypoints", "verification"), 0.0)
    core = PipelineConfig(
        map_path=map_path, device="cpu", threads=1, local_features=config.local_features, verify=config.verify
    )
    frames = verified = 0
    opened = Pipeline.open(core, Health(), extractor)
    with opened as pipeline, Drive(bag, DriveTopics(pose="none"), load_clouds=config.verify != "camera") as drive:
        pipeline.warm_up()
        for observation in drive:
            marks = [time.process_time()]
            try:
                answer = pipeline.process(observation)
            except FrameError:
                continue
            marks.append(time.process_time())
            if answer.match is not None and answer.features is not None:
                answer.features.get()
            marks.append(time.process_time())
            answer = pipeline.verified(answer)
            marks.append(time.process_time())
            frames += 1
            verified += answer.verified is not None
            for key, seconds in zip(spent, np.diff(marks), strict=True):
                spent[key] += float(seconds)
            if frames == CPU_FRAMES:
                break
    counts = (frames, max(verified, 1), max(verified, 1))
    return ", ".join(f"{key} {1e3 * s / n:.0f} ms" for (key, s), n in zip(spent.items(), counts, strict=True))


def table(found: dict[str, list[Errors]]) -> None:
    """Mean and standard deviation over the cities, and all poses of a condition together."""
    print("condition | accepted | posed | median m | p90 m | heading deg | wrong | squared: mean (6), median (5.3)")
    for name, cities in found.items():
        rows = np.array([errors.row() for errors in cities])
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(np.nanmean(rows, axis=0), np.nanstd(rows, axis=0), strict=True)]
        print(f"{name} | {sum(e.accepted for e in cities)} | {' | '.join(cells)}")
    every = [errors for cities in found.values() for errors in cities]
    for label, chosen in (
        ("same camera, all poses", [e for name, c in found.items() if not DRIVES[name][3] for e in c]),
        ("other camera, all poses", [e for name, c in found.items() if DRIVES[name][3] for e in c]),
        ("all poses", every),
    ):
        if chosen:
            together = Errors(
                sum(e.accepted for e in chosen),
                np.concatenate([e.metres for e in chosen]),
                np.concatenate([e.degrees for e in chosen]),
                np.concatenate([e.squared for e in chosen]),
                sum(e.off_map for e in chosen),
            )
            print(f"{label}: {together.accepted} accepted ({together.off_map} elsewhere), {short(together.row())}")


def short(row: list[float]) -> str:
    posed, median, p90, degrees, wrong, mean, middle = row
    return (
        f"posed {posed:.3f}, {median:.3f} m, p90 {p90:.3f} m, {degrees:.3f} deg, wrong {wrong:.4f}, "
        f"squared {mean:.1f} / {middle:.1f}"
    )


if __name__ == "__main__":
    main()
