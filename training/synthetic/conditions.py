"""The conditions of one drive: season, light, weather, traffic, and the settings of its camera and LiDAR."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from vpr_ros.errors import VprError

Season = Literal["summer", "autumn", "winter"]
Lighting = Literal["day", "overcast", "dusk", "night"]
Weather = Literal["clear", "fog", "rain", "snow"]
Look = tuple[Season, Lighting, Weather]


@dataclass(frozen=True)
class DriveConditions:
    """All that differs between two drives of one route."""

    season: Season = "summer"
    light: Lighting = "day"
    weather: Weather = "clear"
    seed: int = 0  # traffic, people, clouds, sun, noise, jitter
    lane_offset_m: float = 0.0  # to the left of the lane's middle, for the whole drive
    weave_m: float = 0.25  # slow wandering across the lane
    along_jitter_m: float = 0.0  # uniform, per frame
    across_jitter_m: float = 0.0
    yaw_jitter_rad: float = 0.0

    def __post_init__(self):
        for name, value, known in (
            ("season", self.season, get_args(Season)),
            ("light", self.light, get_args(Lighting)),
            ("weather", self.weather, get_args(Weather)),
        ):
            if value not in known:
                raise VprError(f"synthetic drives know no {name} {value!r}; choose one of {', '.join(known)}")

    @property
    def label(self) -> str:
        return f"{self.season}/{self.light}/{self.weather}"

    @property
    def snowy(self) -> bool:
        return self.season == "winter" or self.weather == "snow"


# The benchmark's conditions by their short names.
NAMED = {
    "day": DriveConditions(),
    "overcast": DriveConditions(light="overcast"),
    "dusk": DriveConditions(light="dusk"),
    "night": DriveConditions(light="night"),
    "winter": DriveConditions(season="winter", light="overcast"),
    "autumn": DriveConditions(season="autumn"),
    "fog": DriveConditions(light="overcast", weather="fog"),
    "rain": DriveConditions(light="overcast", weather="rain"),
    "snowfall": DriveConditions(season="winter", light="overcast", weather="snow"),
}


def named_conditions(name: str, seed: int = 0, **changes) -> DriveConditions:
    """A condition by its short name (`NAMED`), with its own seed."""
    if name not in NAMED:
        raise VprError(f"no condition {name!r}; choose one of {', '.join(NAMED)}")
    return replace(NAMED[name], seed=seed, **changes)


@dataclass(frozen=True)
class CameraConfig:
    """A pinhole camera on the vehicle; camera_link sits `forward_m` ahead of and `height_m` above base_link."""

    width: int = 160
    height: int = 120
    fov_deg: float = 78.0  # horizontal
    height_m: float = 1.55
    forward_m: float = 0.4
    pitch_deg: float = 0.0  # positive looks down (rotation about y, left)
    yaw_deg: float = 0.0
    roll_deg: float = 0.0
    supersample: int = 1  # rays per pixel and axis
    blur_px: float = 0.0
    exposure_ev: float = 0.0
    noise: float = 1.0  # 1 = an ordinary small sensor
    vignette: float = 0.25
    red_gain: float = 1.0
    blue_gain: float = 1.0
    grey: bool = False
    jpeg_quality: int = 90

    @property
    def K(self) -> np.ndarray:
        f = self.width / 2 / np.tan(np.radians(self.fov_deg) / 2)
        return np.array([[f, 0, self.width / 2], [0, f, self.height / 2], [0, 0, 1.0]])


def random_camera(rng: np.random.Generator, width: int = 160, height: int = 120, supersample: int = 1) -> CameraConfig:
    """A camera as robots and cars have them: lenses, mountings, exposures, sharpness and colours vary widely."""
    return CameraConfig(
        width=width,
        height=height,
        supersample=supersample,
        fov_deg=float(rng.uniform(58, 100)),
        height_m=float(rng.uniform(0.8, 2.3)),
        forward_m=float(rng.uniform(0, 1.2)),
        pitch_deg=float(rng.normal(0, 3.5)),
        yaw_deg=float(rng.normal(0, 2.5)),
        roll_deg=float(rng.normal(0, 1.2)),
        blur_px=float(max(0, rng.normal(0.15, 0.35))),
        exposure_ev=float(rng.normal(0, 0.45)),
        noise=float(rng.uniform(0.3, 2.2)),
        vignette=float(rng.uniform(0, 0.5)),
        red_gain=float(rng.uniform(0.88, 1.12)),
        blue_gain=float(rng.uniform(0.86, 1.14)),
        grey=bool(rng.random() < 0.12),
        jpeg_quality=int(rng.integers(55, 96)),
    )


def resized_camera(camera: CameraConfig, rng: np.random.Generator) -> CameraConfig:
    """The camera with pictures of another size and shape."""
    width = int(camera.width * rng.choice([0.75, 1.0, 1.25, 1.5]))
    height = int(width * (camera.height / camera.width) * rng.choice([0.75, 1.0]))
    return replace(camera, width=width, height=height)


def indoor_camera(camera: CameraConfig) -> CameraConfig:
    """The camera on a small robot, as it drives along corridors: lower and hardly ahead of its middle."""
    return replace(camera, height_m=0.62 * camera.height_m, forward_m=0.3 * camera.forward_m)


@dataclass(frozen=True)
class LidarConfig:
    """A spinning LiDAR above base_link. The last five fields are the disturbances that `hard_lidar` sets."""

    beams: int = 16
    azimuths: int = 600
    low_deg: float = -16.0
    high_deg: float = 14.0
    range_m: float = 70.0
    min_range_m: float = 1.2
    height_m: float = 1.95
    noise_m: float = 0.02
    dropout: float = 0.06
    weather_returns: float = 1.0  # factor on the usual share of rays that snow, rain and fog send back
    vehicles: float = 0.0  # mean number of lorries and buses around, new ones in every scan; pictures do not show them
    skew_m: float = 0.0  # travel of the vehicle during one revolution, not corrected in the scan
    tilt_deg: tuple[float, float] = (0.0, 0.0)  # roll and pitch of the mounting that the stated extrinsics lack
    twist_deg: float = 0.0  # the same about z


def hard_lidar(rng: np.random.Generator) -> LidarConfig:
    """A sparse and disturbed LiDAR, different for each drive: single skewed scans of few beams, an inaccurate mounting.

    In the clean world any network recognises a place from its cloud; with these scans networks differ.
    """
    low = float(rng.uniform(-14, -11))
    return LidarConfig(
        beams=int(rng.choice([16, 20, 24])),
        azimuths=int(rng.choice([360, 450])),
        low_deg=low,
        high_deg=low + float(rng.uniform(24, 28)),
        range_m=float(rng.uniform(45, 60)),
        height_m=float(rng.uniform(1.6, 2.2)),
        noise_m=0.03,
        dropout=float(rng.uniform(0.05, 0.2)),
        weather_returns=2.0,
        vehicles=float(rng.uniform(0.5, 2.0)),
        skew_m=float(rng.uniform(0.0, 0.6)),
        tilt_deg=(float(rng.normal(0, 0.5)), float(rng.normal(0, 0.5))),
        twist_deg=float(rng.normal(0, 1.5)),
    )


def remounted_camera(camera: CameraConfig, seed: int) -> CameraConfig:
    """The camera after remounting on another vehicle: another lens, height, pitch and exposure, same image size."""
    rng = np.random.default_rng([seed, 71])
    other = random_camera(rng, camera.width, camera.height, camera.supersample)
    return replace(
        other,
        grey=camera.grey,
        fov_deg=float(np.clip(camera.fov_deg + rng.normal(0, 7), 55, 105)),
        height_m=float(np.clip(camera.height_m + rng.normal(0, 0.25), 0.7, 2.4)),
        jpeg_quality=camera.jpeg_quality,
    )
