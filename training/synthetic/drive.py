"""A drive: poses and stamps at once, pictures and clouds on demand, the same bytes in any number of processes."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.training.synthetic.conditions import CameraConfig, DriveConditions, LidarConfig
from vpr_ros.training.synthetic.kinds import kind_of, scale_of
from vpr_ros.training.synthetic.odometry import drifting_odometry, steps
from vpr_ros.training.synthetic.rendering.camera import camera_extrinsics, render_image
from vpr_ros.training.synthetic.rendering.lidar import lidar_extrinsics, render_scan
from vpr_ros.training.synthetic.rendering.light import indoor_light, make_light
from vpr_ros.training.synthetic.workers import rendering_pool
from vpr_ros.training.synthetic.world.route import Route, plan_route
from vpr_ros.training.synthetic.world.scene import Scene, build_scene

OFFMAP_SHIFT_M = 100_000.0  # offset of the ground truth of streets outside the map, to the east
START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Frame:
    """One rendered moment."""

    index: int
    stamp_ns: int
    image: np.ndarray  # (H, W, 3) uint8 RGB
    cloud: np.ndarray | None  # (N, 3) float32 in lidar_link


@dataclass(frozen=True)
class Drive:
    """A planned drive; `frame(i)` and `frames(workers)` render. All poses are of base_link on the ground.

    `T_city_base` is in the frame of each frame's own city (`cities[i]`); `T_map_base` equals it in the first city and
    lies OFFMAP_SHIFT_M further east in any other, where no pose of the map can match.
    """

    stamps_ns: np.ndarray  # (N,) int64
    cities: np.ndarray  # (N,) int64 city seed of each frame
    T_city_base: np.ndarray  # (N, 4, 4)
    T_map_base: np.ndarray  # (N, 4, 4)
    T_odom_base: np.ndarray  # (N, 4, 4)
    along_m: np.ndarray  # (N,) distance along the route's line; off-map frames count on
    conditions: DriveConditions
    camera: CameraConfig
    lidar: LidarConfig | None
    lines: dict[int, np.ndarray] = field(
        repr=False
    )  # city seed -> driven lane line (m, 2), decides what geometry is kept
    surfaces: str = ""  # folder of photographs that built things are covered with; empty: painted ones

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def K(self) -> np.ndarray:
        """Pinhole matrix (3, 3)."""
        return self.camera.K

    @property
    def T_base_cameralink(self) -> np.ndarray:
        return camera_extrinsics(self.camera)[0]

    @property
    def T_cameralink_optical(self) -> np.ndarray:
        return camera_extrinsics(self.camera)[1]

    @property
    def T_base_lidar(self) -> np.ndarray:
        return lidar_extrinsics(self.lidar or LidarConfig())

    def scene(self, city_seed: int) -> Scene:
        """The ray-casting scene around this drive in one of its cities (cached for the last two)."""
        line = self.lines[city_seed]
        return _scene(city_seed, self.conditions, line.tobytes(), line.shape, self.surfaces)

    def frame(self, index: int, with_cloud: bool = True) -> Frame:
        """Render frame `index`."""
        scene = self.scene(int(self.cities[index]))
        T = self.T_city_base[index]
        seed = [self.conditions.seed, int(self.cities[index]), index]
        light = (indoor_light if scene.roofed else make_light)(self.conditions)
        image = render_image(scene, light, self.camera, T, [*seed, 1])
        cloud = render_scan(scene, self.lidar, T, [*seed, 2]) if self.lidar and with_cloud else None
        return Frame(index, int(self.stamps_ns[index]), image, cloud)

    def frames(self, workers: int = 1, with_clouds: bool = True, chunk: int = 24) -> Iterator[Frame]:
        """All frames in order. With `workers` > 1 other processes render slices; the bytes do not depend on it."""
        if workers <= 1:
            yield from (self.frame(i, with_clouds) for i in range(len(self)))
            return
        chunks = [range(i, min(i + chunk, len(self))) for i in range(0, len(self), chunk)]
        with rendering_pool(workers) as pool:
            for frames in pool.map(_render_chunk, ((self, c, with_clouds) for c in chunks)):
                yield from frames


@lru_cache(maxsize=2)
def _scene(city_seed: int, conditions: DriveConditions, line: bytes, shape: tuple, surfaces: str) -> Scene:
    return build_scene(city_seed, conditions, np.frombuffer(line).reshape(shape), surfaces=surfaces)


def _render_chunk(job) -> list[Frame]:
    drive, indices, with_clouds = job
    return [drive.frame(i, with_clouds) for i in indices]


def _poses(route: Route, along: np.ndarray, conditions: DriveConditions, rng) -> np.ndarray:
    """Poses (N, 4, 4) along the lane with the drive's offset, weaving and per-frame jitter."""
    n = len(along)
    c, scale = conditions, scale_of(route.city_seed)
    across = np.sqrt(scale)  # passages are narrower than streets by less than they are shorter
    at = np.clip(along + rng.uniform(-1, 1, n) * c.along_jitter_m * scale, 0, route.length_m)
    xy, heading = route.at(at)
    waves = rng.uniform(0, 2 * np.pi, 2)
    weave = c.weave_m * across * (np.sin(at / 23 + waves[0]) + 0.6 * np.sin(at / 9.5 + waves[1]))
    slope = c.weave_m * across * (np.cos(at / 23 + waves[0]) / 23 + 0.6 * np.cos(at / 9.5 + waves[1]) / 9.5)
    left = c.lane_offset_m * across + weave + rng.uniform(-1, 1, n) * c.across_jitter_m * across
    yaw = heading + slope + rng.uniform(-1, 1, n) * c.yaw_jitter_rad
    xy = xy + left[:, None] * np.column_stack([-np.sin(heading), np.cos(heading)])
    return np.array([planar_transform(x, y, a) for (x, y), a in zip(xy, yaw, strict=True)])


def plan_drive(
    city_seed: int,
    conditions: DriveConditions | None = None,
    camera: CameraConfig | None = None,
    lidar: LidarConfig | None = None,
    length_m: float = 500.0,
    spacing_m: float = 3.0,
    speed_mps: float = 8.0,
    route_seed: int = 0,
    offmap_seed: int | None = None,
    offmap_length_m: float = 0.0,
    start_ns: int = START_NS,
    reverse: bool = False,
    surfaces: str = "",
    lap_m: float | None = None,
) -> Drive:
    """Plan a drive of `length_m` with a frame every `spacing_m`; nothing is rendered yet.

    Two drives with the same city and `route_seed` follow the same streets. With `offmap_seed` the drive continues for
    `offmap_length_m` through that other city; odometry continues. `lidar` None renders no clouds. `reverse` drives the
    same line from its end to its start. `surfaces` as in `build_scene`, `lap_m` as in `plan_route`.
    Indoors (kind "corridor") there is neither season nor weather, and the conditions' scatter is scaled to passages.
    Raises VprError for lengths that do not fit, worlds of two kinds, and spacings or speeds that are not positive.
    """
    if spacing_m <= 0 or speed_mps <= 0:
        raise VprError(f"a drive needs a positive spacing and speed, not {spacing_m:g} m and {speed_mps:g} m/s")
    conditions, camera = conditions or DriveConditions(), camera or CameraConfig()
    if offmap_seed is not None and kind_of(offmap_seed) != kind_of(city_seed):
        raise VprError(f"a drive cannot go on from world {city_seed} to {offmap_seed}: they are of different kinds")
    if kind_of(city_seed) == "corridor":
        conditions = replace(conditions, season="summer", weather="clear")
    rng = np.random.default_rng([city_seed, route_seed, conditions.seed, 101])
    parts, lines, cities, along, offset = [], {}, [], [], 0.0
    for seed, length in [(city_seed, length_m)] + ([(offmap_seed, offmap_length_m)] if offmap_seed is not None else []):
        route = plan_route(seed, length, route_seed, lap_m if seed == city_seed else None)
        route = route.reversed_lane() if reverse else route
        lines[seed] = np.ascontiguousarray(route.points)
        at = np.arange(0, length, spacing_m)
        parts.append(_poses(route, at, conditions, rng))
        cities.append(np.full(len(at), seed, np.int64))
        along.append(at + offset)
        offset += length
    join = planar_transform(spacing_m, 0, 0)
    relative = [steps(parts[0])] + [a for part in parts[1:] for a in (join[None], steps(part))]
    T_map = np.concatenate(parts).copy()
    T_map[len(parts[0]) :, 0, 3] += OFFMAP_SHIFT_M
    n = len(T_map)
    stamps = start_ns + (np.arange(n) * spacing_m / speed_mps * 1e9).astype(np.int64)
    odometry = drifting_odometry(np.concatenate(relative), [city_seed, route_seed, conditions.seed, 103])
    return Drive(
        stamps,
        np.concatenate(cities),
        np.concatenate(parts),
        T_map,
        odometry,
        np.concatenate(along),
        conditions,
        camera,
        lidar,
        lines,
        surfaces,
    )
