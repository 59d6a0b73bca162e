"""Tiny sequences in the exact Boreas layout, written from synthetic drives.

Everything that the loaders undo is done here the other way round and by itself: poses become angles of the passive
convention, scans are taken ray by ray from a moving sensor that is turned against the car, pictures by a camera that
is not where the car's origin is.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.geometry import interpolate
from vpr_ros.training.synthetic import CameraConfig, DriveConditions, plan_drive

WIDTH, HEIGHT = 153, 128  # a sixteenth of the real pictures
FX, FY, CX, CY = 91.3, 91.2, 76.4, 64.2
ENU_REF = (623426.0, 4848821.0, 153.6)
INS_HEIGHT_M = 1.7  # the INS is on the roof rack
HEADER = "GPSTime,easting,northing,altitude,vel_east,vel_north,vel_up,roll,pitch,heading,angvel_z,angvel_y,angvel_x"
# The car's axes (forward, left, up) in those of the INS (right, forward, up), and the sensors' places in the INS frame.
CAR_IN_INS = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
LIDAR_YAW, LIDAR_AT = np.radians(42.66), (0.025, -0.013, 0.316)
CAMERA_PITCH, CAMERA_AT = np.radians(1.1), (0.053, 0.617, 0.074)
SCAN_S = 0.1


def lidar_in_ins():
    """T_applanix_lidar."""
    T, c, s = np.eye(4), np.cos(LIDAR_YAW), np.sin(LIDAR_YAW)
    T[:3, :3], T[:3, 3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]], LIDAR_AT
    return T


def camera_in_ins():
    """T_applanix_camera: the optical axis forward and a little down."""
    T, c, s = np.eye(4), np.cos(CAMERA_PITCH), np.sin(CAMERA_PITCH)
    right, ahead = np.array([1.0, 0, 0]), np.array([0, c, -s])
    T[:3, :3], T[:3, 3] = np.stack([right, np.cross(ahead, right), ahead], axis=1), CAMERA_AT
    return T


def sway(seconds):
    """The car's small roll and pitch, as a rotation vector in its own axes."""
    return np.array([0.02 * np.sin(2.1 * seconds), 0.015 * np.sin(1.3 * seconds), 0.0])


def angles_of(C):
    """roll, pitch, heading with C = roll(r) pitch(p) yaw(y) in the passive convention."""
    return np.arctan2(C[1, 2], C[2, 2]), -np.arcsin(C[0, 2]), np.arctan2(C[0, 1], C[0, 0])


@dataclass
class World:
    """A drive and what the sensors of the Boreas car see of it. Times are microseconds."""

    drive: object
    start_us: int

    def __post_init__(self):
        self.times_us = (self.drive.stamps_ns - self.drive.stamps_ns[0]) // 1000 + self.start_us
        self.scene = self.drive.scene(int(self.drive.cities[0]))

    def T_city_ins(self, t_us):
        after = int(np.clip(np.searchsorted(self.times_us, t_us), 1, len(self.times_us) - 1))
        a, b = self.times_us[after - 1], self.times_us[after]
        T = interpolate(self.drive.T_city_base[after - 1], self.drive.T_city_base[after], (t_us - a) / (b - a))
        out, seconds = np.eye(4), (t_us - self.start_us) * 1e-6
        out[:3, :3] = T[:3, :3] @ cv2.Rodrigues(sway(seconds))[0] @ CAR_IN_INS.T
        out[:3, 3] = T[:3, 3] + [0, 0, INS_HEIGHT_M]
        return out

    def cast(self, origins, directions):
        return self.scene.cast(origins.astype(np.float32), directions.astype(np.float32))

    def picture(self, t_us, seed):
        """(H, W, 3) uint8 RGB."""
        from vpr_ros.training.synthetic.rendering.camera import develop
        from vpr_ros.training.synthetic.rendering.light import make_light
        from vpr_ros.training.synthetic.rendering.shading import shade

        v, u = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
        d = np.stack([(u - CX) / FX, (v - CY) / FY, np.ones_like(u)], -1).reshape(-1, 3)
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        T = self.T_city_ins(t_us) @ camera_in_ins()
        rays = (d @ T[:3, :3].T).astype(np.float32)
        light = make_light(self.drive.conditions)
        radiance = shade(self.scene, light, T[:3, 3], rays, self.cast(T[:3, 3], rays), 0.01, T[:3, 2])
        camera = CameraConfig(width=WIDTH, height=HEIGHT)
        return develop(radiance.reshape(HEIGHT, WIDTH, 3), camera, light, np.random.default_rng(seed))

    def scan(self, t_us, beams=12, firings=90):
        """(N, 6) float32: x, y, z, intensity, laser, seconds from the middle; every firing from where the car is."""
        elevation = np.radians(np.linspace(-20, 12, beams))
        level, local, origins, rays, about = np.cos(elevation), [], [], [], []
        for k in range(firings):
            azimuth, dt = 2 * np.pi * k / firings, (k / firings - 0.5) * SCAN_S
            local.append(np.stack([level * np.cos(azimuth), -level * np.sin(azimuth), np.sin(elevation)], axis=1))
            T = self.T_city_ins(t_us + round(1e6 * dt)) @ lidar_in_ins()
            origins += [T[:3, 3]] * beams
            rays.append(local[-1] @ T[:3, :3].T)
            about += [[10.0 + j, j, dt] for j in range(beams)]
        t = self.cast(np.array(origins), np.concatenate(rays))["t_hit"]
        keep = np.isfinite(t) & (t > 1.0) & (t < 80)
        return np.hstack([np.concatenate(local) * t[:, None], about])[keep].astype(np.float32)

    def pose_line(self, t_us, T_ins_sensor, origin):
        """A line of a pose file: time, position, velocity, angles, turning."""
        T = self.T_city_ins(t_us) @ T_ins_sensor
        a, b = (self.T_city_ins(t_us + d) @ T_ins_sensor for d in (-20_000, 20_000))
        velocity = (b[:3, 3] - a[:3, 3]) / 0.04
        S = a[:3, :3].T @ b[:3, :3]  # a small turn: its skew part is the angle
        wx, wy, wz = np.array([S[2, 1] - S[1, 2], S[0, 2] - S[2, 0], S[1, 0] - S[0, 1]]) / 2 / 0.04
        numbers = (*(T[:3, 3] + origin), *velocity, *angles_of(T[:3, :3]), wz, wy, wx)
        return f"{int(t_us)}," + ",".join(f"{v:.9f}" for v in numbers)


def text_of(T):
    return "\n".join(" ".join(f"{v:.12e}" for v in row) for row in T) + "\n"


def write_calibration(folder: Path):
    folder.mkdir()
    (folder / "P_camera.txt").write_text(f"{FX} 0.0 {CX} 0.0\n0.0 {FY} {CY} 0.0\n0.0 0.0 1.0 0.0\n0.0 0.0 0.0 1.0\n")
    (folder / "T_applanix_lidar.txt").write_text(text_of(lidar_in_ins()))
    (folder / "T_camera_lidar.txt").write_text(text_of(np.linalg.inv(camera_in_ins()) @ lidar_in_ins()))


def write_sequence(
    root: Path,
    name="boreas-2020-11-26-13-58",
    city=5,
    length_m=46.0,
    conditions=None,
    seed=1,
    camera_hz=10.0,
    lidar_hz=9.65,
    origin=ENU_REF,
    start_us=1606417097528152,
):
    """Write a sequence; returns its World. `origin`: what is added to the city's coordinates."""
    conditions = conditions or DriveConditions(seed=seed)
    drive = plan_drive(city, conditions, length_m=length_m, spacing_m=1.0, speed_mps=8.0)
    world = World(drive, start_us)
    folder = root / name
    for sub in ("applanix", "camera", "lidar"):
        (folder / sub).mkdir(parents=True)
    write_calibration(folder / "calib")
    first, last = int(world.times_us[0]), int(world.times_us[-1])
    for sensor, hz, offset, mount in (
        ("camera", camera_hz, 130_000, camera_in_ins()),
        ("lidar", lidar_hz, 71_303, lidar_in_ins()),
    ):
        times = [int(t) for t in np.arange(first + offset, last - 60_000, 1e6 / hz)]
        lines = [HEADER, *(world.pose_line(t, mount, origin) for t in times)]
        (folder / "applanix" / f"{sensor}_poses.csv").write_text("\n".join(lines) + "\n")
        for t in times:
            if sensor == "camera":
                cv2.imwrite(str(folder / "camera" / f"{t}.png"), world.picture(t, [seed, t])[..., ::-1])
            else:
                (folder / "lidar" / f"{t}.bin").write_bytes(world.scan(t).astype("<f4").tobytes())
    return world
