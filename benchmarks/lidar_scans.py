"""Scans of rendered worlds without pictures: many scanners for a training, one changed thing at a time for a test."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vpr_ros.atomic import whole_file
from vpr_ros.geometry import yaw_of
from vpr_ros.plain_files import load_arrays
from vpr_ros.training.data.sample import METRES, Sample, SampleSet
from vpr_ros.training.synthetic.conditions import DriveConditions, LidarConfig, hard_lidar, named_conditions
from vpr_ros.training.synthetic.drive import plan_drive
from vpr_ros.training.synthetic.kinds import KINDS, WorldKind, kind_of, scale_of, world_seed
from vpr_ros.training.synthetic.rendering.lidar import render_scan
from vpr_ros.training.synthetic.training_set import GROUPS

INDOORS = 0.25  # a scan's range within buildings against streets: of grids, voxels and scanners
SPEED_MPS = 8.0


@dataclass(frozen=True)
class ScanDrive:
    """A drive of one scanner through a world; lengths are those of streets."""

    name: str
    conditions: DriveConditions
    lidar: LidarConfig
    frames: int
    spacing_m: float = 3.0
    reverse: bool = False


def indoors(lidar: LidarConfig) -> LidarConfig:
    """The scanner on a small robot: low, without a blind zone, slow, and no lorries around it."""
    return replace(lidar, height_m=0.4 * lidar.height_m, min_range_m=0.3, skew_m=0.1 * lidar.skew_m, vehicles=0.0)


def varied_lidar(rng: np.random.Generator) -> LidarConfig:
    """Any scanner: 8 to 128 beams, 20 to 100 m, 0.3 to 2.2 m above the ground, unlevel, on a slow or a fast robot."""
    beams = int(rng.choice([8, 16, 24, 32, 64, 128]))
    return LidarConfig(
        beams=beams,
        azimuths=360 if beams > 32 else int(rng.choice([360, 450, 600])),
        low_deg=float(rng.uniform(-25, -8)),
        high_deg=float(rng.uniform(2, 22)),
        range_m=float(20 * 5 ** rng.uniform(0, 1)),
        min_range_m=float(rng.uniform(0.3, 1.5)),
        height_m=float(rng.uniform(0.3, 2.2)),
        noise_m=float(rng.uniform(0.01, 0.05)),
        dropout=float(rng.uniform(0.02, 0.25)),
        weather_returns=float(rng.uniform(0.5, 2.5)),
        vehicles=float(rng.uniform(0, 3)) if rng.random() < 0.5 else 0.0,
        skew_m=float(rng.uniform(0, 2.5)) if rng.random() < 0.6 else 0.0,
        tilt_deg=(float(rng.normal(0, 1.5)), float(rng.normal(0, 1.5))),
        twist_deg=float(rng.normal(0, 2)),
    )


def training_drives(seed: int, drives: int, frames: int) -> list[ScanDrive]:
    """Drives through a world, each with another scanner, season, weather and lane, a third the other way."""
    found = []
    for number in range(drives):
        rng = np.random.default_rng([seed, number, 131])
        season, light, weather = GROUPS[number % len(GROUPS)][rng.integers(len(GROUPS[number % len(GROUPS)]))]
        conditions = DriveConditions(
            season,
            light,
            weather,
            seed=5000 + 97 * number + seed,
            lane_offset_m=float(rng.uniform(-0.7, 0.7)),
            along_jitter_m=1.5,
            across_jitter_m=0.5,
            yaw_jitter_rad=0.05,
        )
        lidar = indoors(varied_lidar(rng)) if kind_of(seed) == "corridor" else varied_lidar(rng)
        reverse = number > 0 and rng.random() < 0.35
        found.append(ScanDrive(str(number), conditions, lidar, frames, 4.0, reverse))
    return found


@dataclass(frozen=True)
class Change:
    """What a query drive changes against the map's, which is `LidarConfig` on a clear day."""

    condition: str = "overcast"
    lidar: dict = field(default_factory=dict)
    aside_m: float = 0.3  # to the left of where it drives
    reverse: bool = False
    disturbed: bool = False  # `hard_lidar` instead of `lidar`
    in_corridors: bool = True  # where there is neither season nor weather nor traffic, and little room


MAP = "map"
CHANGES: dict[str, Change] = {
    "night": Change("night"),
    "winter": Change("winter", in_corridors=False),
    "snowfall": Change("snowfall", in_corridors=False),
    "heavy snowfall": Change("snowfall", {"weather_returns": 5.0}, in_corridors=False),
    "snowfall, disturbed": Change("snowfall", disturbed=True),
    "other direction": Change("dusk", reverse=True),
    "other direction and lane": Change("dusk", aside_m=-3.5, reverse=True, in_corridors=False),
    "1 m aside": Change(aside_m=1.0),
    "2 m aside": Change(aside_m=2.0, in_corridors=False),
    "4 m aside": Change(aside_m=4.0, in_corridors=False),
    "64 beams, -24 to 4°": Change(lidar={"beams": 64, "low_deg": -24.0, "high_deg": 4.0, "azimuths": 450}),
    "8 beams": Change(lidar={"beams": 8}),
    "4 beams": Change(lidar={"beams": 4}),
    "2 beams": Change(lidar={"beams": 2}),
    "110 m": Change(lidar={"range_m": 110.0}),
    "40 m": Change(lidar={"range_m": 40.0}),
    "20 m": Change(lidar={"range_m": 20.0}),
    "10 m": Change(lidar={"range_m": 10.0}),
    "30 % lost": Change(lidar={"dropout": 0.3}),
    "80 % lost": Change(lidar={"dropout": 0.8}),
    "0.4 m up": Change(lidar={"height_m": 0.4}),
    "2.8 m up": Change(lidar={"height_m": 2.8}),
    "tilted by 2°": Change(lidar={"tilt_deg": (1.3, -1.5)}),
    "tilted by 4°": Change(lidar={"tilt_deg": (2.6, -3.0)}),
    "tilted by 8°": Change(lidar={"tilt_deg": (5.2, -6.0)}),
    "1.5 m a turn": Change(lidar={"skew_m": 1.5}),
    "3 m a turn": Change(lidar={"skew_m": 3.0}),
    "4 lorries": Change(lidar={"vehicles": 4.0}, in_corridors=False),
    "10 lorries": Change(lidar={"vehicles": 10.0}, in_corridors=False),
    "all at once": Change(
        "snowfall",
        {"beams": 8, "range_m": 40.0, "height_m": 1.2, "tilt_deg": (1.3, -1.5), "skew_m": 1.0, "vehicles": 2.0},
        aside_m=-1.0,
        reverse=True,
    ),
}


def query_lidar(seed: int, change: Change) -> LidarConfig:
    """The scanner of a query drive in this world."""
    disturbed = hard_lidar(np.random.default_rng([seed, 5]))
    lidar = disturbed if change.disturbed else replace(LidarConfig(), **change.lidar)
    if kind_of(seed) == "corridor":
        shorter = INDOORS if "range_m" in change.lidar else 1.0
        lidar = replace(indoors(lidar), range_m=shorter * lidar.range_m)
    return lidar


def test_drives(seed: int, frames: int, queries: int) -> list[ScanDrive]:
    """The map's drive and one for every entry of `CHANGES`; queries lie evenly along the map's."""
    inside = kind_of(seed) == "corridor"
    base = LidarConfig()
    found = [ScanDrive(MAP, named_conditions("day", seed=seed * 50), indoors(base) if inside else base, frames)]
    for number, (name, change) in enumerate(CHANGES.items(), 1):
        if inside and not change.in_corridors:
            continue
        conditions = named_conditions(change.condition, seed=seed * 50 + number, lane_offset_m=change.aside_m)
        spacing = 3.0 * frames / queries
        found.append(ScanDrive(name, conditions, query_lidar(seed, change), queries, spacing, change.reverse))
    return found


def render_drive(seed: int, drive: ScanDrive) -> tuple[list[np.ndarray], np.ndarray]:
    """Clouds [(N, 3) float16] in base_link, and poses (n, 4, 4); needs Open3D."""
    scale = scale_of(seed)
    length, spacing = drive.frames * drive.spacing_m * scale, drive.spacing_m * scale
    planned = plan_drive(
        seed, drive.conditions, None, drive.lidar, length, spacing, SPEED_MPS * scale, reverse=drive.reverse
    )
    scene, up = planned.scene(seed), planned.T_base_lidar[:3, 3].astype(np.float32)
    poses = planned.T_city_base[: drive.frames]
    clouds = [
        (render_scan(scene, drive.lidar, T, [drive.conditions.seed, seed, i, 2]) + up).astype(np.float16)
        for i, T in enumerate(poses)
    ]
    return clouds, poses


def render_world(path: Path, seed: int, drives: list[ScanDrive], most_points: int | None = None) -> None:
    """Write the drives of a world to an .npz file, unless it exists; `most_points` thins larger scans."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    rng = np.random.default_rng([seed, 7])
    for drive in drives:
        clouds, poses = render_drive(seed, drive)
        if most_points:
            clouds = [c if len(c) <= most_points else rng.permutation(c)[:most_points] for c in clouds]
        arrays[f"{drive.name}/points"] = np.concatenate(clouds)
        arrays[f"{drive.name}/counts"] = np.array([len(c) for c in clouds])
        arrays[f"{drive.name}/poses"] = poses
    with whole_file(path) as draft, draft.open("wb") as stream:
        np.savez(stream, **arrays)  # pyright: ignore[reportArgumentType]


class Scans(SampleSet):
    """The drives of worlds in memory. Positions are in lengths of streets, so that 10 m are one place in any world;
    clouds of buildings may be enlarged with them, so that a network of one voxel size sees both. Points lower than
    `floor_m` are left out. The robot may be taken to stand `beside_m` to the left of where it is (in a street)."""

    def __init__(
        self,
        paths: list[Path],
        name: str,
        *,
        enlarge: bool = False,
        floor_m: float = -np.inf,
        beside_m: float = 0.0,
    ):
        self.name, self.cloud_unit = name, METRES
        self.clouds: list[np.ndarray] = []
        columns: list[tuple] = []
        for path in paths:
            arrays, seed = load_arrays(path), int(path.stem)
            factor = 1 / INDOORS if enlarge and kind_of(seed) == "corridor" else 1.0
            shift = np.array([0, -beside_m * (INDOORS if kind_of(seed) == "corridor" else 1.0), 0], np.float16)
            for drive in dict.fromkeys(key.split("/")[0] for key in arrays):
                points, counts, poses = (arrays[f"{drive}/{what}"] for what in ("points", "counts", "poses"))
                scans = np.split(points, np.cumsum(counts)[:-1])
                for number, (cloud, T) in enumerate(zip(scans, poses, strict=True)):
                    cloud = cloud[cloud[:, 2] > floor_m] * np.float16(factor) + shift
                    if not len(cloud):
                        continue  # from inside a post a LiDAR sees nothing, on an open field nothing but ground
                    x, y = T[:2, 3] / scale_of(seed)
                    columns.append((x, y, yaw_of(T), str(seed), f"{seed}-{drive}", drive, number * 10**9))
                    self.clouds.append(cloud)
        x, y, heading, area, drive, condition, stamp = zip(*columns, strict=True)
        self.positions_m, self.headings_rad = np.column_stack([x, y]), np.array(heading, float)
        self.areas, self.drives, self.conditions = np.array(area), np.array(drive), np.array(condition)
        self.stamps_ns = np.array(stamp, np.int64)

    def read(self, row, modalities):
        cloud = self.clouds[row].astype(np.float32) if "cloud" in modalities else None
        drive, condition = str(self.drives[row]), str(self.conditions[row])
        return Sample(None, cloud, None, int(self.stamps_ns[row]), condition=condition, drive=drive)

    def holding(self, modalities):
        return np.arange(0 if "image" in modalities else len(self))


def seeds_of(first: int, counts: dict[WorldKind, int]) -> list[int]:
    """The worlds of every kind from number `first` on."""
    return [world_seed(kind, first + n) for kind in KINDS for n in range(counts.get(kind, 0))]
