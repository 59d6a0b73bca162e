"""Relative poses between drives without a common frame (`vpr_ros.offline.crossing`), against the truth.

Rendered worlds of three kinds, seeds that chose no threshold. The first drive is a summer day; the second goes the same
streets at night, in winter with a worse, disturbed scanner, or the other way, on the same line or in the other lane;
shares only the middle 200 m; or goes through streets of the same world that the first has not seen. Right: within 1 m
and 5 degrees. Recall counts the frames of the second drive that have one of the first within 5 m. Seconds of CPU are
those of a pair of drives.

    python benchmarks/lidar_pairs.py --out runs/lidar_pairs
    python benchmarks/lidar_pairs.py --out runs/lidar_pairs --without-odometry
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.atomic import whole_file
from vpr_ros.geometry import invert, yaw_of
from vpr_ros.offline.crossing import Crossing, ScannedDrive, find_crossing
from vpr_ros.sensors.clouds import transformed
from vpr_ros.training.synthetic.conditions import LidarConfig, hard_lidar, named_conditions
from vpr_ros.training.synthetic.drive import START_NS, plan_drive
from vpr_ros.training.synthetic.kinds import kind_of
from vpr_ros.training.synthetic.rendering.lidar import render_scan

SEEDS = (2080, 2081, 102080, 102081, 202080, 202081)
WHOLE, SHARED = ("night", "winter", "other way", "other lane"), ("night, 200 m shared", "winter, 200 m shared")
CONDITIONS = (*WHOLE, *SHARED, "other streets")
LENGTH_M, SPACING_M = 800.0, 2.0
RIGHT_M, RIGHT_RAD, PARTNER_M = 1.0, np.radians(5.0), 5.0
DAY_NS = 86_400_000_000_000


@dataclass(frozen=True)
class Pass:
    """A drive as a LiDAR saw it: clouds in base_link, stamps, odometry and true poses (N, 4, 4)."""

    clouds: list[np.ndarray]
    stamps_ns: np.ndarray
    T_odom_base: np.ndarray
    T_map_base: np.ndarray

    def __getitem__(self, rows: slice) -> "Pass":
        return Pass(self.clouds[rows], self.stamps_ns[rows], self.T_odom_base[rows], self.T_map_base[rows])

    def scanned(self, name: str, with_odometry: bool) -> ScannedDrive:
        """Without what is not asked for."""
        return ScannedDrive(self.clouds, self.stamps_ns, self.T_odom_base if with_odometry else None, name)


def rendered(folder: Path, seed: int, name: str) -> Pass:
    """A drive of a world: rendered once, read later."""
    path = folder / f"{seed}_{name.replace(' ', '_')}.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft, draft.open("wb") as stream:
            np.savez(stream, **_render(seed, name))
    with np.load(path, allow_pickle=False) as held:
        clouds = np.split(held["points"], np.cumsum(held["counts"])[:-1])
        return Pass(clouds, held["stamps_ns"], held["T_odom_base"], held["T_map_base"])


def _render(seed: int, name: str) -> dict[str, Any]:
    looks = {
        "day": named_conditions("day", seed=seed * 10 + 1),
        "night": named_conditions("night", seed=seed * 10 + 2, lane_offset_m=0.5),
        "winter": named_conditions("winter", seed=seed * 10 + 3, lane_offset_m=-0.3),
        "other way": named_conditions("dusk", seed=seed * 10 + 4, lane_offset_m=0.2),
        "other lane": named_conditions("dusk", seed=seed * 10 + 4, lane_offset_m=-3.5),
    }
    lidar = hard_lidar(np.random.default_rng(seed)) if name == "winter" else LidarConfig()
    start_ns = START_NS + list(looks).index(name) * DAY_NS
    drive = plan_drive(
        seed,
        looks[name],
        lidar=lidar,
        length_m=LENGTH_M,
        spacing_m=SPACING_M,
        start_ns=start_ns,
        reverse=name.startswith("other"),
    )
    scene = drive.scene(seed)
    clouds = [
        transformed(render_scan(scene, lidar, T, [looks[name].seed, seed, i, 2]), drive.T_base_lidar)
        for i, T in enumerate(drive.T_city_base)
    ]
    return {
        "points": np.concatenate(clouds),
        "counts": np.array([len(cloud) for cloud in clouds]),
        "stamps_ns": drive.stamps_ns,
        "T_odom_base": drive.T_odom_base,
        "T_map_base": drive.T_map_base,
    }


def pairs(folder: Path, seed: int) -> Iterator[tuple[str, Pass, Pass]]:
    """(condition, first drive, second drive) of a world."""
    day = rendered(folder, seed, "day")
    half, shared = len(day.stamps_ns) // 2, len(day.stamps_ns) // 8
    for condition in CONDITIONS:
        if condition == "other streets":
            yield condition, day[: half - shared], rendered(folder, seed, "night")[half + shared :]
        elif condition.endswith("shared"):
            name = condition.partition(",")[0]
            yield condition, day[: half + shared], rendered(folder, seed, name)[half - shared :]
        else:
            yield condition, day, rendered(folder, seed, condition)


def figures(found: Crossing, first: Pass, second: Pass) -> dict[str, float]:
    """What the table adds up; lists of errors beside them."""
    apart_m = np.linalg.norm(second.T_map_base[:, None, :2, 3] - first.T_map_base[None, :, :2, 3], axis=2)
    partnered = np.flatnonzero(apart_m.min(axis=1) < PARTNER_M)
    i, j = (np.array([getattr(c, side) for c in found.constraints], np.int64) for side in ("first", "second"))
    T = np.array([c.T_first_second for c in found.constraints]).reshape(-1, 4, 4)
    error = invert(invert(first.T_map_base[i]) @ second.T_map_base[j]) @ T
    right = (np.linalg.norm(error[:, :2, 3], axis=1) < RIGHT_M) & (np.abs(yaw_of(error)) < RIGHT_RAD)
    return {
        "partnered": len(partnered),
        "nominated": found.nominated,
        "registered": found.registered,
        "confirmed": len(T),
        "right": int(right.sum()),
        "found": int(np.isin(partnered, j[right]).sum()),
        "squares": float((error[:, :2, 3] ** 2).sum()),
    }


def table(folder: Path, seeds: tuple[int, ...], with_odometry: bool) -> None:
    """Print a row for each world and condition."""
    print(f"{'world':12} {'condition':22} partnered nominated registered confirmed precision recall  RMSE m  CPU s")
    for seed in seeds:
        for condition, first, second in pairs(folder, seed):
            start = time.process_time()
            drives = first.scanned("the first", with_odometry), second.scanned("the second", with_odometry)
            found = find_crossing(*drives)
            seconds = time.process_time() - start
            row = figures(found, first, second)
            precision = row["right"] / row["confirmed"] if row["confirmed"] else float("nan")
            recall = row["found"] / row["partnered"] if row["partnered"] else float("nan")
            rmse_m = np.sqrt(row["squares"] / row["confirmed"]) if row["confirmed"] else float("nan")
            print(
                f"{kind_of(seed) + ' ' + str(seed % 100):12} {condition:22} {row['partnered']:9} {row['nominated']:9} "
                f"{row['registered']:10} {row['confirmed']:9} {precision:9.3f} {recall:6.3f} {rmse_m:7.3f} "
                f"{seconds:6.0f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the rendered drives")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--without-odometry", action="store_true", help="the clouds say how the robots moved")
    given = parser.parse_args()
    table(given.out, tuple(given.seeds), not given.without_odometry)


if __name__ == "__main__":
    main()
