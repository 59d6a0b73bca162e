"""Tiny traversals in the exact raw RobotCar layout, written from synthetic drives.

Everything that the loaders undo is done here the other way round and by itself: poses become north-east-down angles,
pictures are taken through a distorting lens and a Bayer mosaic, scans lie in the sensor's own frame.
"""

import atexit
import shutil
import struct
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.geometry import interpolate, planar_transform
from vpr_ros.training.synthetic import CameraConfig, Drive, DriveConditions, plan_drive

WIDTH, HEIGHT, LENS = 160, 120, 0.12
FOCAL, CENTRE = 100.0, (80.4, 59.6)
INS_HEIGHT_M = 0.35
# The extrinsics as the data set prints them, sensor by sensor.
INS = (-1.7132, 0.1181, 1.1948, -0.0125, 0.0400, 0.0050)
LMS_FRONT = (1.7589, 0.2268, 1.0411, -0.0437, -1.4572, 0.0356)
VELODYNE_LEFT = (-0.60072, -0.34077, -0.26837, -0.0053948, -0.041998, -3.1337)
INS_HEADER = (
    "timestamp,ins_status,latitude,longitude,altitude,northing,easting,down,utm_zone,velocity_north,"
    "velocity_east,velocity_down,roll,pitch,yaw"
)
RTK_HEADER = (
    "timestamp,latitude,longitude,altitude,northing,easting,down,utm_zone,velocity_north,velocity_east,"
    "velocity_down,roll,pitch,yaw"
)


def pose_matrix(x, y, z, roll, pitch, yaw):
    """The textbook product Rz Ry Rx, one matrix after the other."""
    c, s = np.cos, np.sin
    Rx = np.array([[1, 0, 0], [0, c(roll), -s(roll)], [0, s(roll), c(roll)]])
    Ry = np.array([[c(pitch), 0, s(pitch)], [0, 1, 0], [-s(pitch), 0, c(pitch)]])
    Rz = np.array([[c(yaw), -s(yaw), 0], [s(yaw), c(yaw), 0], [0, 0, 1]])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rz @ Ry @ Rx, (x, y, z)
    return T


def distorted_from(u, v):
    """Where the lens puts what an ideal camera sees at pixel (u, v)."""
    x, y = (u - CENTRE[0]) / FOCAL, (v - CENTRE[1]) / FOCAL
    bend = 1 - LENS * (x * x + y * y)
    return CENTRE[0] + FOCAL * x * bend, CENTRE[1] + FOCAL * y * bend


def write_models(folder: Path):
    """models/ with the intrinsics and the undistortion table of stereo/centre."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{FOCAL} {FOCAL} {CENTRE[0]} {CENTRE[1]}\n0 0 1 0\n1 0 0 0\n0 1 0 0\n0 0 0 1\n"
    (folder / "stereo_narrow_left.txt").write_text(text)
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    x, y = distorted_from(u, v)
    (folder / "stereo_narrow_left_distortion_lut.bin").write_bytes(
        x.astype("<f8").tobytes() + y.astype("<f8").tobytes()
    )


@dataclass
class World:
    """A drive and what the sensors of a RobotCar see of it."""

    drive: Drive
    start_us: int
    utm: tuple[float, float]  # northing, easting of the city's origin

    def __post_init__(self):
        self.times_us = (self.drive.stamps_ns - self.drive.stamps_ns[0]) // 1000 + self.start_us
        self.scene = self.drive.scene(int(self.drive.cities[0]))

    def T_city_ins(self, t_us):
        """Pose of the INS, axes forward, left, up, in the city's frame."""
        after = int(np.clip(np.searchsorted(self.times_us, t_us), 1, len(self.times_us) - 1))
        a, b = self.times_us[after - 1], self.times_us[after]
        T = interpolate(self.drive.T_city_base[after - 1], self.drive.T_city_base[after], (t_us - a) / (b - a))
        return T @ planar_transform(0, 0, 0, INS_HEIGHT_M)

    def ned(self, t_us):
        """northing, easting, down, roll, pitch, yaw as `ins.csv` has them."""
        T = self.T_city_ins(t_us)
        forward, left, up = T[:3, 0], T[:3, 1], T[:3, 2]
        # East, north, up (x, y, z) is north, east, down (y, x, -z); the body's axes are forward, right, down.
        R = np.array([[a[1], a[0], -a[2]] for a in (forward, -left, -up)]).T
        pitch = -np.arcsin(R[2, 0])
        roll, yaw = np.arctan2(R[2, 1], R[2, 2]), np.arctan2(R[1, 0], R[0, 0])
        east, north, height = T[:3, 3]
        return self.utm[0] + north, self.utm[1] + east, -(110.0 + height), roll, pitch, yaw

    def T_city_vehicle(self, t_us):
        """Pose of the vehicle frame (stereo camera body: forward, right, down) in the city's frame."""
        return self.T_city_ins(t_us) @ np.diag([1.0, -1, -1, 1]) @ np.linalg.inv(pose_matrix(*INS))

    def cast(self, origins, directions):
        """Distance along rays, inf where nothing is hit."""
        return self.scene.cast(origins.astype(np.float32), directions.astype(np.float32))

    def picture(self, t_us, seed):
        """What the sensor behind the lens sees, (H, W, 3) uint8 RGB, not yet a mosaic."""
        from vpr_ros.training.synthetic.rendering.camera import develop
        from vpr_ros.training.synthetic.rendering.light import make_light
        from vpr_ros.training.synthetic.rendering.shading import shade

        v, u = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
        x, y = u.copy(), v.copy()
        for _ in range(20):  # the lens, inverted by iteration
            a, b = distorted_from(x, y)
            x, y = x + (u - a), y + (v - b)
        d = np.stack([(x - CENTRE[0]) / FOCAL, (y - CENTRE[1]) / FOCAL, np.ones_like(x)], -1).reshape(-1, 3)
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        body = d[:, [2, 0, 1]]  # optical right, down, forward as forward, right, down
        T = self.T_city_vehicle(t_us)
        rays = (body @ T[:3, :3].T).astype(np.float32)
        hits = self.cast(T[:3, 3], rays)
        light = make_light(self.drive.conditions)
        radiance = shade(self.scene, light, T[:3, 3], rays, hits, 0.01, T[:3, 0])
        camera = CameraConfig(width=WIDTH, height=HEIGHT)
        return develop(radiance.reshape(HEIGHT, WIDTH, 3), camera, light, np.random.default_rng(seed))

    def lms(self, t_us, rays=181):
        """A front LMS scan (N, 3) x, y, reflectance in the laser's own plane."""
        angle = np.radians(np.linspace(-135, 135, rays))
        local = np.stack([np.cos(angle), np.sin(angle), np.zeros(rays)], axis=1)
        T = self.T_city_vehicle(t_us) @ pose_matrix(*LMS_FRONT)
        hits = self.cast(T[:3, 3], local @ T[:3, :3].T)
        t = hits["t_hit"]
        keep = np.isfinite(t) & (t < 50) & (t > 0.3)
        return np.column_stack([local[keep, :2] * t[keep, None], 100 + 10 * np.cos(angle[keep])])

    def velodyne(self, t_us, columns=90):
        """Ranges (32, columns) in metres, 0 where nothing came back, and azimuths (columns,) in 0.01 degree."""
        azimuth = (np.arange(columns) * (36000 // columns)).astype(np.int64)
        elevation = np.radians(10.67 - np.arange(32) * 4 / 3)  # the top beam first
        a = np.radians(azimuth / 100)
        level = np.cos(elevation)[:, None]
        # The sensor's frame with z down: azimuth from -y over x, as its manual's y and z turned about x.
        local = np.stack([level * np.sin(a), -level * np.cos(a), -np.sin(elevation)[:, None] + 0 * a], -1)
        T = self.T_city_vehicle(t_us) @ pose_matrix(*VELODYNE_LEFT)
        origin = T @ [0, 0, -0.090805, 1]
        t = self.cast(origin[:3], local.reshape(-1, 3) @ T[:3, :3].T)["t_hit"].reshape(32, columns)
        return np.where(np.isfinite(t) & (t < 70) & (t > 1.0), t, 0.0), azimuth


def mosaic_gbrg(rgb):
    """Bayer image (H, W) of an RGB one: green blue / red green."""
    out = np.empty(rgb.shape[:2], np.uint8)
    out[0::2, 0::2], out[0::2, 1::2] = rgb[0::2, 0::2, 1], rgb[0::2, 1::2, 2]
    out[1::2, 0::2], out[1::2, 1::2] = rgb[1::2, 0::2, 0], rgb[1::2, 1::2, 1]
    return out


def raw_velodyne(ranges, azimuth):
    """The raw image (102, columns) of a revolution; intensities count the beams."""
    columns = ranges.shape[1]
    image = np.zeros((106, columns), np.uint8)
    for k in range(columns):
        image[:32, k] = np.arange(32)
        ticks = [round(r / 0.002) for r in ranges[:, k]]
        image[32:96, k] = list(b"".join(struct.pack("<H", t) for t in ticks))
        image[96:98, k] = list(struct.pack("<H", azimuth[k]))
    return image


def write_readings(folder: Path, sensor: str, times_us, write, suffix):
    """One file per time and the sensor's list, the first half in chunk 1 and the rest in chunk 2."""
    (folder / sensor).mkdir(parents=True, exist_ok=True)
    lines = []
    for i, t in enumerate(times_us):
        write(folder / sensor / f"{t}{suffix}", t)
        lines.append(f"{t} {1 if i < len(times_us) / 2 else 2}")
    (folder / f"{sensor.split('/')[0]}.timestamps").write_text("\n".join(lines) + "\n")


def write_traversal(
    root: Path,
    name="2014-05-19-13-20-57",
    city=5,
    length_m=46.0,
    conditions=None,
    seed=1,
    image_hz=4.0,
    lms_hz=50.0,
    velodyne_hz=2.0,
    utm=(5735700.0, 620100.0),
    start_us=1400505893170765,
    rtk=True,
):
    """Write a traversal and the kit's models/ beside it; returns its World. RTK goes to ../rtk/<name>/rtk.csv."""
    conditions = conditions or DriveConditions(seed=seed)
    drive = plan_drive(city, conditions, length_m=length_m, spacing_m=1.0, speed_mps=8.0)
    world = World(drive, start_us, utm)
    folder = root / name
    folder.mkdir(parents=True)
    first, last = int(world.times_us[0]), int(world.times_us[-1])

    def times(hz, offset_us):
        return [int(t) for t in np.arange(first + offset_us, last, 1e6 / hz)]

    def write_picture(path, t):
        cv2.imwrite(str(path), mosaic_gbrg(world.picture(t, [seed, t])))

    write_readings(folder, "stereo/centre", times(image_hz, 3000), write_picture, ".png")
    write_readings(
        folder,
        "lms_front",
        times(lms_hz, 1000),
        lambda path, t: path.write_bytes(world.lms(t).astype("<f8").tobytes()),
        ".bin",
    )
    if velodyne_hz:
        write_readings(
            folder,
            "velodyne_left",
            times(velodyne_hz, 7000),
            lambda path, t: cv2.imwrite(str(path), raw_velodyne(*world.velodyne(t))),
            ".png",
        )
    (folder / "gps").mkdir()
    lines, truth = [INS_HEADER], [RTK_HEADER]
    for t in np.arange(first, last + 1, 20_000):
        n, e, d, roll, pitch, yaw = world.ned(int(t))
        before, after = world.ned(int(t) - 10_000), world.ned(int(t) + 10_000)
        vn, ve, vd = ((after[i] - before[i]) / 0.02 for i in range(3))
        rest = f"{n:.6f},{e:.6f},{d:.6f},30U,{vn:.4f},{ve:.4f},{vd:.4f},{roll:.9f},{pitch:.9f},{yaw:.9f}"
        lines.append(f"{int(t)},INS_SOLUTION_GOOD,51.76,-1.26,{-d:.3f},{rest}")
        truth.append(f"{int(t)},51.76,-1.26,{-d:.3f},{rest}")
    (folder / "gps" / "ins.csv").write_text("\n".join(lines) + "\n")
    if rtk:
        (root / "rtk" / name).mkdir(parents=True)
        (root / "rtk" / name / "rtk.csv").write_text("\n".join(truth) + "\n")
    write_models(root / "models")
    return world


NAMES = ("2014-05-19-13-20-57", "2014-12-09-13-21-02")


@cache
def rendered() -> tuple[Path, dict[str, World]]:
    """Two traversals of one street, a summer and a winter day, rendered once for all tests of a process; read-only."""
    root = Path(tempfile.mkdtemp(prefix="robotcar_"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    summer = write_traversal(root, NAMES[0])
    winter = write_traversal(
        root,
        NAMES[1],
        conditions=DriveConditions("winter", "overcast", seed=2),
        seed=2,
        velodyne_hz=0,
        start_us=1418131262000123,
        rtk=False,
    )
    return root, dict(zip(NAMES, (summer, winter), strict=True))


def copy(tmp_path: Path, name=NAMES[0]) -> Path:
    """A traversal of `rendered` that a test may damage, with models/ and rtk/ beside it; returns its folder."""
    root, _ = rendered()
    for part in (name, "models", "rtk"):
        shutil.copytree(root / part, tmp_path / part, dirs_exist_ok=True)
    return tmp_path / name
