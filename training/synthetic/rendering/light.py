"""Sun, sky, haze and lamps of one drive, and the sky's picture."""

from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.training.synthetic.conditions import DriveConditions
from vpr_ros.training.synthetic.rendering.sampling import read_noise
from vpr_ros.training.synthetic.world.city import City


@dataclass(frozen=True)
class Light:
    sun: np.ndarray | None  # (3,) unit vector towards the sun, None without direct light
    sun_colour: np.ndarray
    ambient_up: np.ndarray  # irradiance on a surface that faces the sky
    ambient_down: np.ndarray  # and on one that faces the ground
    zenith: np.ndarray
    horizon: np.ndarray
    glow: np.ndarray  # added to the sky around the sun's azimuth
    azimuth: float
    haze_per_m: float
    haze: np.ndarray
    lamps: float
    lit_windows: float  # share of windows with a lamp behind
    window_glow: float
    headlights: float
    clouds: float
    key: float  # mean brightness that the camera's automatic exposure aims at
    cloud_shift: np.ndarray
    lamp_colour: np.ndarray


def make_light(conditions: DriveConditions) -> Light:
    """Light of a drive; its seed moves the sun and the clouds."""
    rng = np.random.default_rng([conditions.seed, 81])
    azimuth = float(rng.uniform(0, 2 * np.pi))
    low = conditions.season == "winter"
    elevation = float(np.radians(rng.uniform(10, 22) if low else rng.uniform(24, 60)))
    weather, kind = conditions.weather, conditions.light
    if weather in ("rain", "snow", "fog") and kind == "day":
        kind = "overcast"

    def a(values):
        return np.array(values, np.float32)

    warm = rng.uniform(0.9, 1.1)
    table = {
        "day": dict(
            sun_colour=a([2.5, 2.25, 1.85]) * warm,
            up=a([0.62, 0.76, 1.0]),
            down=a([0.34, 0.33, 0.30]),
            zenith=a([0.22, 0.42, 0.85]),
            horizon=a([0.78, 0.88, 1.0]),
            glow=a([0.5, 0.45, 0.35]),
            haze=0.0012,
            veil=0.75,
            lamps=0.0,
            lit=0.02,
            window=0.25,
            head=0.0,
            key=0.34,
        ),
        "overcast": dict(
            sun_colour=a([0.0, 0, 0]),
            up=a([1.0, 1.03, 1.08]),
            down=a([0.42, 0.42, 0.42]),
            zenith=a([0.78, 0.82, 0.88]),
            horizon=a([1.0, 1.0, 1.0]),
            glow=a([0.0, 0, 0]),
            haze=0.002,
            veil=0.9,
            lamps=0.0,
            lit=0.08,
            window=0.4,
            head=0.0,
            key=0.36,
        ),
        "dusk": dict(
            sun_colour=a([0.0, 0, 0]),
            up=a([0.25, 0.28, 0.37]),
            down=a([0.09, 0.085, 0.09]),
            zenith=a([0.13, 0.20, 0.40]),
            horizon=a([0.50, 0.38, 0.33]),
            glow=a([1.0, 0.45, 0.10]),
            haze=0.0016,
            veil=0.55,
            lamps=0.55,
            lit=0.34,
            window=0.6,
            head=0.25,
            key=0.22,
        ),
        "night": dict(
            sun_colour=a([0.0, 0, 0]),
            up=a([0.016, 0.019, 0.032]),
            down=a([0.010, 0.009, 0.009]),
            zenith=a([0.008, 0.012, 0.03]),
            horizon=a([0.07, 0.055, 0.05]),
            glow=a([0.0, 0, 0]),
            haze=0.002,
            veil=0.9,
            lamps=1.0,
            lit=0.38,
            window=0.6,
            head=1.0,
            key=0.15,
        ),
    }[kind]
    haze = (
        table["haze"] * rng.uniform(0.7, 1.6)
        + {"clear": 0, "fog": rng.uniform(0.018, 0.034), "rain": 0.006, "snow": 0.010}[weather]
    )
    horizon = table["horizon"]
    if weather != "clear":
        grey = horizon.mean() * a([1.0, 1.0, 1.02])
        horizon, zenith = 0.3 * horizon + 0.7 * grey, 0.3 * table["zenith"] + 0.7 * grey * 0.9
    else:
        zenith = table["zenith"]
    sun = (
        a([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        if kind == "day"
        else None
    )
    clouds = {"day": rng.uniform(0.1, 0.8), "overcast": 0.35, "dusk": rng.uniform(0.2, 0.7), "night": 0.3}[kind]
    return Light(
        sun,
        table["sun_colour"],
        table["up"],
        table["down"],
        zenith,
        horizon,
        table["glow"],
        azimuth,
        float(haze),
        horizon * table["veil"],
        table["lamps"],
        table["lit"],
        table["window"],
        table["head"],
        clouds,
        table["key"],
        rng.uniform(0, 512, 2),
        a([1.0, 0.78, 0.50]),
    )


def indoor_light(conditions: DriveConditions) -> Light:
    """Light of a drive between walls: white lamps, no headlights and no haze; sun and sky stand in the windows."""
    return replace(
        make_light(conditions),
        haze_per_m=0.0,
        lamps=1.0,
        headlights=0.0,
        key=0.32,
        lamp_colour=np.array([1.0, 0.95, 0.86], np.float32),
    )


def sky(light: Light, city: City, direction: np.ndarray, snowy: bool) -> np.ndarray:
    """Radiance (n, 3) of directions (n, 3) that hit nothing: clouds above two lines of hills."""
    up = direction[:, 2]
    azimuth = np.arctan2(direction[:, 1], direction[:, 0])
    f = np.clip(up, 0, 1)[:, None] ** 0.55
    colour = light.horizon + f * (light.zenith - light.horizon)
    if light.glow.any():
        toward = np.clip(np.cos(azimuth - light.azimuth), 0, 1)[:, None] ** 3
        colour = colour + light.glow * toward * np.exp(-6 * np.clip(up, 0, 1))[:, None]
    height = 60 / (np.clip(up, 0.0, 1) + 0.08)
    cloud = read_noise(direction[:, 0] * height + light.cloud_shift[0], direction[:, 1] * height + light.cloud_shift[1])
    cover = np.clip((cloud[:, 0] + 0.35 * cloud[:, 1] - 1.1 + 1.6 * light.clouds) * 0.8, 0, 1) * np.clip(up * 7, 0, 1)
    white = (light.horizon * 1.08 + 0.12 * light.zenith)[None] * (1 - 0.18 * np.clip(cloud[:, 1:], -1, 1.5))
    colour = colour + (cover * 0.85)[:, None] * (white - colour)
    hills = city.style.hills
    for scale, shade, shift in ((1.0, 0.45, 0.0), (0.55, 0.22, 2.1)):
        profile = (
            sum(amplitude * (1 + np.sin(k * (azimuth + shift) + phase)) for amplitude, k, phase in hills) * scale * 0.8
        )
        rough = read_noise(azimuth * 160 + shift * 60, np.full_like(azimuth, 40))[:, 1] * 0.0035
        tone = np.array([0.30, 0.36, 0.30], np.float32) if not snowy else np.array([0.72, 0.74, 0.78], np.float32)
        clear = (1 - shade) * np.exp(-light.haze_per_m * 500)
        land = light.haze * (1 - clear) + clear * tone * (light.ambient_up * 0.55)
        colour = np.where((up < profile + rough)[:, None], land, colour)
    veil = (1 - np.exp(-light.haze_per_m * 500)) * np.exp(-9 * np.clip(up, 0, 1))
    colour = colour + veil[:, None] * (light.haze - colour)
    return np.maximum(colour, 0).astype(np.float32)
