"""The demo's world: two drives through a city that no training uses, the second one leaving the map."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.training.synthetic.conditions import CameraConfig, DriveConditions, named_conditions, remounted_camera
from vpr_ros.training.synthetic.drive import Drive, plan_drive
from vpr_ros.training.synthetic.workers import rendering_pool
from vpr_ros.training.synthetic.world.city import DEMO_CITY_SEED, DEMO_OFFMAP_SEED

CONDITIONS = ("day", "dusk", "night", "winter")
CAMERAS = ("fixed", "differing")
CAMERA_SEED = 5


@dataclass(frozen=True)
class DemoConfig:
    """Lengths of the drives. The defaults give over 300 queries on the map along more than a kilometre, and 300 off
    it."""

    length_m: float = 1100.0
    offmap_length_m: float = 1000.0
    spacing_m: float = 3.0
    every_nth: int = 4  # frames of the conditions' drives: they are measured on a thinned copy of the route
    workers: int = 2


def map_drive(config: DemoConfig) -> Drive:
    """A summer day."""
    conditions = named_conditions("day", seed=1)
    return plan_drive(DEMO_CITY_SEED, conditions, CameraConfig(), length_m=config.length_m, spacing_m=config.spacing_m)


def query_drive(config: DemoConfig) -> Drive:
    """The same streets on an autumn evening, a little to the left, and then on through another city."""
    conditions = DriveConditions(season="autumn", light="dusk", seed=2, lane_offset_m=0.4)
    return plan_drive(
        DEMO_CITY_SEED,
        conditions,
        CameraConfig(),
        length_m=config.length_m,
        spacing_m=config.spacing_m,
        offmap_seed=DEMO_OFFMAP_SEED,
        offmap_length_m=config.offmap_length_m,
        start_ns=int(map_drive(config).stamps_ns[0]) + 100 * 24 * 3600 * 10**9,
    )


def condition_drive(config: DemoConfig, condition: str, camera: str) -> Drive:
    """The map's streets under another condition, with the map's camera or another one; every n-th frame."""
    conditions = named_conditions(condition, seed=10 + CONDITIONS.index(condition), lane_offset_m=0.4)
    lens = CameraConfig() if camera == "fixed" else remounted_camera(CameraConfig(), CAMERA_SEED)
    drive = plan_drive(DEMO_CITY_SEED, conditions, lens, length_m=config.length_m, spacing_m=config.spacing_m)
    pick = slice(None, None, config.every_nth)
    names = ("stamps_ns", "cities", "T_city_base", "T_map_base", "T_odom_base", "along_m")
    return dataclasses.replace(drive, **{name: getattr(drive, name)[pick] for name in names})


@dataclass(frozen=True)
class ConditionImages:
    """Pictures (H, W, 3) uint8 RGB of one condition and camera with their true poses (N, 4, 4)."""

    condition: str
    camera: str
    images: list[np.ndarray]
    T_map_base: np.ndarray


def render_conditions(config: DemoConfig, progress: Callable[[int], None] | None = None) -> list[ConditionImages]:
    """Render all conditions, each in a process of its own; the cameras of one condition share its scene."""
    results: list[ConditionImages] = []
    with rendering_pool(config.workers) as pool:
        for images in pool.map(_render_condition, [(config, condition) for condition in CONDITIONS]):
            results += images
            if progress:
                progress(sum(len(r.images) for r in results))
    return results


def _render_condition(job: tuple[DemoConfig, str]) -> list[ConditionImages]:
    config, condition = job
    out = []
    for camera in CAMERAS:
        drive = condition_drive(config, condition, camera)
        images = [drive.frame(i, with_cloud=False).image for i in range(len(drive))]
        out.append(ConditionImages(condition, camera, images, drive.T_map_base))
    return out


def write_bags(config: DemoConfig, folder: Path, progress: Callable[[int], None] | None = None) -> tuple[Path, Path]:
    """Render both drives into `folder`: the first as mcap, the second as sqlite3. Needs open3d and rosbags."""
    from vpr_ros.training.synthetic.bags import write_drive_bag

    paths = folder / "first", folder / "second"
    done = 0
    for path, drive, storage in zip(paths, (map_drive(config), query_drive(config)), ("mcap", "sqlite3"), strict=True):

        def advance(count: int, _total: int, before: int = done):
            if progress:
                progress(before + count)

        write_drive_bag(path, drive, storage, workers=config.workers, progress=advance)
        done += len(drive)
    return paths


def places_picture(rows: list[list[np.ndarray]], tile: tuple[int, int] = (128, 170), gap: int = 5) -> np.ndarray:
    """One picture (H, W, 3) uint8 RGB of rows of images, each scaled to `tile` (height, width)."""
    height, width = tile
    canvas = np.full((len(rows) * (height + gap) - gap, len(rows[0]) * (width + gap) - gap, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = r * (height + gap), c * (width + gap)
            scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
            canvas[top : top + height, left : left + width] = scaled
    return canvas
