"""Streets for `teaching.py`: own ones, driven by day, at night and in winter with a LiDAR, and others, only asked.

Repetitive and sparse worlds, which `nano` finds hard (`BENCHMARK.md`, "Stated probabilities"), and cities among the
others. A summer day is the map, seen by one camera. Another camera, on another vehicle, drives at night and in winter,
and later asks on a rainy autumn night and on a winter evening, which nothing has learnt from.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.training.data.nearness import Nearness
from vpr_ros.training.data.sample import METRES, Modality, Sample, SampleSet
from vpr_ros.training.synthetic.conditions import (
    CameraConfig,
    DriveConditions,
    LidarConfig,
    hard_lidar,
    remounted_camera,
)
from vpr_ros.training.synthetic.drive import START_NS, Drive, plan_drive
from vpr_ros.training.synthetic.kinds import kind_of

OWN = {f"{kind} {seed}": seed for seed in (102060, 102061, 102063, 202060, 202061) for kind in [kind_of(seed)]}
OTHERS = {f"{kind} {seed}": seed for seed in (102062, 202062, 2060, 2061, 2062) for kind in [kind_of(seed)]}
MAP, TAUGHT, ASKED = "day", ("day", "night", "winter"), ("autumn night", "winter dusk")
CAMERA_SEED = 7
LENGTH_M, SPACING_M = 800.0, 4.0
DAY_NS = 86_400_000_000_000


@dataclass(frozen=True)
class Pass:
    """One drive through an area: pictures (N, h, w, 3) uint8 RGB, clouds (none of the drives that only ask) in
    base_link, true poses (N, 4, 4), odometry's, and stamps."""

    images: np.ndarray
    clouds: list[np.ndarray]
    T_map_base: np.ndarray
    T_odom_base: np.ndarray
    stamps_ns: np.ndarray


class Frames(SampleSet):
    """The frames of an area's drives, of which only maps and embeddings are read, and what is known of their places."""

    cloud_unit = METRES

    def __init__(self, drives: np.ndarray, known: Nearness) -> None:
        self.name, count = "own streets", len(drives)
        self.positions_m, self.headings_rad = known.poses[:, :2], known.poses[:, 2]
        self.areas, self.drives = np.full(count, "here"), drives.astype(str)
        self.conditions, self.stamps_ns = np.full(count, ""), np.arange(count)
        self._known = known

    @property
    def nearness(self) -> Nearness:
        return self._known

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        raise VprError(f"frame {row} of {self.name} was made into maps and is not read again.")


def planned(seed: int, name: str, length_m: float = LENGTH_M, spacing_m: float = SPACING_M) -> Drive:
    """Drive `name` of MAP, TAUGHT and ASKED through an area."""
    camera = CameraConfig(width=240, height=180)
    number = (*TAUGHT, *ASKED).index(name)
    looks = {
        "day": {},
        "night": {"light": "night", "lane_offset_m": 0.5},
        "winter": {"season": "winter", "light": "overcast", "lane_offset_m": -0.4},
        "autumn night": {"season": "autumn", "light": "night", "weather": "rain", "lane_offset_m": 0.1},
        "winter dusk": {"season": "winter", "light": "dusk", "lane_offset_m": 0.7},
    }
    lidars = {
        "day": LidarConfig(),
        "night": LidarConfig(beams=24),
        "winter": hard_lidar(np.random.default_rng(seed)),
    }
    return plan_drive(
        seed,
        DriveConditions(seed=10 * seed + number + 1, **looks[name]),
        camera if name == MAP else remounted_camera(camera, CAMERA_SEED),
        lidars.get(name),
        length_m=length_m,
        spacing_m=spacing_m,
        start_ns=START_NS + number * DAY_NS,
    )


def read_pass(folder: Path, seed: int, name: str) -> Pass:
    """A drive that `render` made."""
    with np.load(_file(folder, seed, name), allow_pickle=False) as held:
        ends = np.cumsum(held["points"])[:-1]
        clouds = np.split(held["clouds"].astype(np.float32), ends) if len(held["points"]) else []
        return Pass(held["images"], clouds, held["T_map_base"], held["T_odom_base"], held["stamps_ns"])


def render(folder: Path, workers: int) -> None:
    """Render what is missing: all drives of own areas, and the map and the asking drives of the others."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {seed: (*TAUGHT, *ASKED) for seed in OWN.values()} | {seed: (MAP, *ASKED) for seed in OTHERS.values()}
    jobs = [
        (folder, seed, name) for seed, of in names.items() for name in of if not _file(folder, seed, name).is_file()
    ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(_render, *job) for job in jobs]:
            done.result()


def _file(folder: Path, seed: int, name: str) -> Path:
    return folder / f"{seed}_{name.replace(' ', '_')}.npz"


def _render(folder: Path, seed: int, name: str) -> None:
    drive = planned(seed, name)
    frames = [drive.frame(i, with_cloud=drive.lidar is not None) for i in range(len(drive))]
    up = drive.T_base_lidar[:3, 3].astype(np.float32)
    clouds = [frame.cloud + up for frame in frames if frame.cloud is not None]
    np.savez_compressed(
        _file(folder, seed, name),
        images=np.stack([frame.image for frame in frames]),
        clouds=np.concatenate(clouds).astype(np.float16) if clouds else np.zeros((0, 3), np.float16),
        points=np.array([len(cloud) for cloud in clouds], np.int64),
        T_map_base=drive.T_map_base,
        T_odom_base=drive.T_odom_base,
        stamps_ns=drive.stamps_ns,
    )
