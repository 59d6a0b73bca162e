"""Synthetic training sets on disk: several drives of each city past the same places, in balanced conditions."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from vpr_ros.atomic import whole_text, write_whole
from vpr_ros.errors import VprError
from vpr_ros.pictures import encode
from vpr_ros.plain_files import parse_json
from vpr_ros.training.synthetic.conditions import (
    CameraConfig,
    DriveConditions,
    LidarConfig,
    Look,
    hard_lidar,
    indoor_camera,
    random_camera,
    resized_camera,
)
from vpr_ros.training.synthetic.drive import START_NS, Drive, plan_drive
from vpr_ros.training.synthetic.kinds import kind_of, scale_of
from vpr_ros.training.synthetic.workers import rendering_pool
from vpr_ros.training.synthetic.world.city import WORLD_VERSION
from vpr_ros.training.synthetic.world.photo_tiles import photographs_in
from vpr_ros.training_set.format import COLUMNS, FORMAT, META, TABLE, VERSION, encode_cloud, table_row

CLOUD_FRAME = "base_link"
SPEED_MPS = 8.0  # in streets

# A drive takes one entry of its group; groups are used in turn, so that every city has bright, snowy and dark drives.
GROUPS: tuple[tuple[Look, ...], ...] = (
    (
        ("summer", "day", "clear"),
        ("summer", "overcast", "clear"),
        ("autumn", "day", "clear"),
        ("summer", "day", "clear"),
    ),
    (
        ("winter", "day", "clear"),
        ("winter", "overcast", "clear"),
        ("winter", "overcast", "snow"),
        ("winter", "dusk", "clear"),
    ),
    (
        ("summer", "night", "clear"),
        ("summer", "dusk", "clear"),
        ("autumn", "night", "rain"),
        ("autumn", "dusk", "clear"),
    ),
    (
        ("autumn", "overcast", "clear"),
        ("summer", "overcast", "rain"),
        ("summer", "overcast", "fog"),
        ("winter", "night", "clear"),
        ("autumn", "overcast", "fog"),
        ("winter", "overcast", "fog"),
        ("summer", "dusk", "rain"),
    ),
)

# Validation drives are driven as a robot drives, without the scatter of training drives: probabilities are
# calibrated on them. The first drive of a city is the map, the others are recognised in it.
VALIDATION_OPTIONS = {
    "camera": "fixed",
    "spacing_m": 3.0,
    "along_jitter_m": 0.0,
    "across_jitter_m": 0.4,
    "yaw_jitter_deg": 1.0,
}
VALIDATION_CONDITIONS: tuple[Look, ...] = (
    ("summer", "day", "clear"),
    ("summer", "dusk", "clear"),
    ("summer", "night", "clear"),
    ("winter", "overcast", "clear"),
    ("autumn", "overcast", "rain"),
)


@dataclass(frozen=True)
class TrainingSetConfig:
    """What `render_training_set` renders; the part of it that `meta.json` records."""

    seeds: tuple[int, ...]
    drives_per_city: int = 6
    frames_per_drive: int = 200
    image_size: tuple[int, int] = (96, 128)  # height, width
    with_lidar: bool = False
    spacing_m: float = 5.0  # this and the scatter are for streets; a corridor's are scaled (`kinds.SCALE`)
    supersample: int = 1
    # "random": another camera per drive; "varied": with pictures of another size, too; "own": another one per city,
    # which all its drives keep; "fixed": one ordinary camera
    camera: Literal["random", "varied", "own", "fixed"] = "random"
    along_jitter_m: float = 1.5
    across_jitter_m: float = 1.0
    yaw_jitter_deg: float = 4.0
    first_drive: int = 0  # drives are numbered from here; other numbers give other conditions and traffic
    conditions: tuple[Look, ...] = ()  # (season, light, weather) per drive; empty: balanced by GROUPS
    lidar: Literal["clean", "hard"] = "clean"  # or "hard": another `hard_lidar` per drive
    above_ground_m: float = 0.0  # clouds lack what is lower than this above base_link's ground; 0: they are whole
    reversed_drives: tuple[int, ...] = ()  # numbers of the drives that go along the route from its end
    surfaces: str = ""  # folder of photographs that built things are covered with; empty: painted ones


def training_drive(config: TrainingSetConfig, city_seed: int, number: int) -> Drive:
    """Drive `number` through a city of a training set, not yet rendered."""
    rng = np.random.default_rng([city_seed, number, 111])
    if config.conditions:
        season, light, weather = config.conditions[(number - config.first_drive) % len(config.conditions)]
    else:
        group = GROUPS[number % len(GROUPS)]
        season, light, weather = group[rng.integers(len(group))]
    conditions = DriveConditions(
        season,
        light,
        weather,
        seed=1000 + 97 * number + city_seed,
        along_jitter_m=config.along_jitter_m,
        weave_m=0.15,
        across_jitter_m=config.across_jitter_m,
        yaw_jitter_rad=float(np.radians(config.yaw_jitter_deg)),
    )
    height, width = config.image_size
    camera = CameraConfig(width=width, height=height, supersample=config.supersample)
    if config.camera != "fixed":
        lenses = np.random.default_rng([city_seed, 117]) if config.camera == "own" else rng
        camera = random_camera(lenses, width, height, config.supersample)
        if config.camera != "random":
            camera = resized_camera(camera, lenses)
    if kind_of(city_seed) == "corridor":
        camera = indoor_camera(camera)
    lidar = None
    if config.with_lidar and config.lidar == "hard":
        lidar = hard_lidar(np.random.default_rng([city_seed, number, 113]))
    elif config.with_lidar:
        lidar = replace(LidarConfig(), beams=int(rng.choice([16, 20, 24, 32])), height_m=float(rng.uniform(1.6, 2.2)))
    scale = scale_of(city_seed)
    return plan_drive(
        city_seed,
        conditions,
        camera,
        lidar,
        config.frames_per_drive * config.spacing_m * scale,
        config.spacing_m * scale,
        SPEED_MPS * scale,
        start_ns=START_NS + number * 86_400_000_000_000,
        reverse=number in config.reversed_drives,
        surfaces=config.surfaces,
    )


def stored_cloud(points: np.ndarray, drive: Drive, config: TrainingSetConfig) -> np.ndarray:
    """A scan (N, 3) in lidar_link as the set stores it: in base_link, on the ground, as in recorded sets.

    With `above_ground_m` the ground is removed, as in PointNetVLAD's submaps. At least one point is kept: networks need
    a cloud that is not empty.
    """
    moved = points + drive.T_base_lidar[:3, 3].astype(np.float32)
    if config.above_ground_m <= 0:
        return moved
    high = moved[:, 2] >= config.above_ground_m
    return moved[high] if high.any() else moved[:1]


def _meta(config: TrainingSetConfig) -> dict:
    """The content of meta.json of a set; sets with LiDAR name the frame of their clouds."""
    meta = {"format": FORMAT, "version": VERSION, "world": WORLD_VERSION, **asdict(config)}
    return json.loads(json.dumps(meta | ({"cloud_frame": CLOUD_FRAME} if config.with_lidar else {})))


def _require_same(out: Path, meta: dict) -> None:
    """VprError where the set in `out` is another one; a set made before a setting existed has its default.

    One that does not name its clouds' frame has them in base_link where they lack the ground, else in lidar_link.
    """
    found = parse_json((out / META).read_text(encoding="utf-8"))
    found = json.loads(json.dumps(asdict(TrainingSetConfig(tuple(meta["seeds"]))))) | found
    if found["with_lidar"]:
        found.setdefault("cloud_frame", CLOUD_FRAME if found["above_ground_m"] > 0 else "lidar_link")
    if found != meta:
        of_frame = found | {"cloud_frame": CLOUD_FRAME} == meta
        differs = f"with clouds in {found['cloud_frame']}" if of_frame else "of other settings"
        raise VprError(f"{out} holds a training set {differs}; choose another folder or delete it")


def _part(out: Path, city_seed: int, number: int) -> Path:
    return out / "parts" / f"city{city_seed:04d}_drive{number:03d}.csv"


def _render_city(job) -> int:
    """Render the missing drives of one city; a drive counts as done when its part file has its final name."""
    out, config, city_seed, numbers = job
    cv2.setNumThreads(1)
    for number in numbers:
        drive = training_drive(config, city_seed, number)
        name = f"city{city_seed:04d}/drive{number:03d}"
        (out / "images" / name).mkdir(parents=True, exist_ok=True)
        if config.with_lidar:
            (out / "clouds" / name).mkdir(parents=True, exist_ok=True)
        rows = []
        for frame in drive.frames():
            if frame.cloud is not None and not len(frame.cloud):
                continue  # a drive beside the lane can lead through a post, from inside which a LiDAR sees nothing
            image = f"images/{name}/{frame.index:06d}.jpg"
            (out / image).write_bytes(encode(frame.image, quality=drive.camera.jpeg_quality))
            cloud = ""
            if frame.cloud is not None:
                cloud = f"clouds/{name}/{frame.index:06d}.npy"
                (out / cloud).write_bytes(encode_cloud(stored_cloud(frame.cloud, drive, config)))
            T, condition = drive.T_map_base[frame.index], drive.conditions.label
            drive_name = f"{city_seed}-{number}"
            rows.append(table_row(frame.index, drive_name, city_seed, T, condition, frame.stamp_ns, image, cloud))
        with whole_text(_part(out, city_seed, number)) as stream:
            csv.writer(stream).writerows(rows)
    return len(numbers)


def render_training_set(
    out_dir,
    seeds: Sequence[int],
    drives_per_city: int = 6,
    frames_per_drive: int = 200,
    image_size: tuple[int, int] = (96, 128),
    with_lidar: bool = False,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    **options,
) -> Path:
    """Render a training set, or continue to render it, into `out_dir` and write its `frames.csv` and `meta.json`.

    `options` are further fields of TrainingSetConfig. `progress(drives done, drives in all)`. A second call with the
    same settings renders what is missing; other settings in the same folder raise VprError. The images do not depend on
    `workers`. Clouds are (N, 3) float16 in base_link, which is on the ground. Returns `out_dir`.
    """
    size = (image_size[0], image_size[1])
    config = TrainingSetConfig(
        tuple(int(s) for s in seeds), drives_per_city, frames_per_drive, size, with_lidar, **options
    )
    if not config.seeds or min(config.image_size) < 16 or drives_per_city < 1 or frames_per_drive < 5:
        raise VprError("a training set needs at least one city, one drive, 5 frames per drive and images of 16 pixels")
    if config.lidar not in ("clean", "hard"):
        raise VprError(f"a training set knows no LiDAR {config.lidar!r}; choose clean or hard")
    if config.surfaces:
        photographs_in(config.surfaces)
    out = Path(out_dir)
    meta = _meta(config)
    try:
        (out / "parts").mkdir(parents=True, exist_ok=True)
        if (out / META).exists():
            _require_same(out, meta)
        else:
            write_whole(out / META, json.dumps(meta, indent=1))
    except (OSError, ValueError) as error:
        raise VprError(f"{out} cannot hold a training set ({error}); choose another folder") from None
    numbers = range(config.first_drive, config.first_drive + drives_per_city)
    jobs, done = [], 0
    for seed in config.seeds:
        missing = [n for n in numbers if not _part(out, seed, n).exists()]
        done += drives_per_city - len(missing)
        if missing:
            jobs.append((out, config, seed, missing))
    total = drives_per_city * len(config.seeds)
    for count in _run(jobs, workers):
        done += count
        if progress:
            progress(done, total)
    with whole_text(out / TABLE) as stream:
        csv.writer(stream).writerow(COLUMNS)
        for seed in config.seeds:
            for number in numbers:
                stream.write(_part(out, seed, number).read_text())
    return out


def _run(jobs, workers: int):
    if workers <= 1 or len(jobs) <= 1:
        yield from map(_render_city, jobs)
        return
    with rendering_pool(workers) as pool:
        yield from pool.map(_render_city, jobs)
