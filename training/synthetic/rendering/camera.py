"""One camera picture: rays, shading, and the processing of a small automatic camera."""

import cv2
import numpy as np

from vpr_ros.training.synthetic.conditions import CameraConfig
from vpr_ros.training.synthetic.rendering.light import Light
from vpr_ros.training.synthetic.rendering.shading import shade
from vpr_ros.training.synthetic.world.scene import Scene

# camera_optical_frame (z forward, x right, y down) in camera_link (x forward, y left, z up), REP-103
R_LINK_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_LINEAR = 1 - np.exp(-np.linspace(0, 6, 4096))
_GAMMA = _LINEAR ** (1 / 2.2)
# A mild S-curve on top of gamma, as camera makers apply, keeps shadows dark and lights bright.
_TONE = (255 * (0.45 * _GAMMA + 0.55 * _GAMMA**2 * (3 - 2 * _GAMMA))).astype(np.float32)


def camera_extrinsics(camera: CameraConfig) -> tuple[np.ndarray, np.ndarray]:
    """(T_base_cameralink, T_cameralink_optical), 4x4."""
    roll, pitch, yaw = np.radians([camera.roll_deg, camera.pitch_deg, camera.yaw_deg])
    rx = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    ry = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    rz = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    T_base_link, T_link_optical = np.eye(4), np.eye(4)
    T_base_link[:3, :3] = rz @ ry @ rx
    T_base_link[:3, 3] = camera.forward_m, 0, camera.height_m
    T_link_optical[:3, :3] = R_LINK_OPTICAL
    return T_base_link, T_link_optical


def camera_rays(camera: CameraConfig, T_city_base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origin (3,) and unit directions (h * w, 3) in the city's frame, row by row, supersampled."""
    T_base_link, T_link_optical = camera_extrinsics(camera)
    T = T_city_base @ T_base_link @ T_link_optical
    k = camera.supersample
    u = (np.arange(camera.width * k) + 0.5) / k
    v = (np.arange(camera.height * k) + 0.5) / k
    K = camera.K
    x, y = np.meshgrid((u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1])
    d = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
    d = d / np.linalg.norm(d, axis=1, keepdims=True) @ T[:3, :3].T
    return T[:3, 3], d.astype(np.float32)


def render_image(scene: Scene, light: Light, camera: CameraConfig, T_city_base: np.ndarray, seed) -> np.ndarray:
    """(height, width, 3) uint8 RGB; `seed` (ints) decides noise and falling snow or rain."""
    rng = np.random.default_rng(seed)
    origin, d = camera_rays(camera, T_city_base)
    hits = scene.cast(origin, d)
    pixel = 2 * np.tan(np.radians(camera.fov_deg) / 2) / (camera.width * camera.supersample)
    radiance = shade(scene, light, origin, d, hits, pixel, T_city_base[:3, 0])
    shape = camera.height * camera.supersample, camera.width * camera.supersample
    picture = radiance.reshape(*shape, 3)
    if camera.supersample > 1:
        picture = cv2.resize(picture, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    if scene.conditions.weather in ("snow", "rain"):
        picture = _falling(picture, scene.conditions.weather, light, rng)
    return develop(picture, camera, light, rng)


def _falling(picture, weather, light, rng):
    """Flakes or streaks between camera and street."""
    h, w = picture.shape[:2]
    veil = np.zeros((h, w), np.float32)
    count = int(rng.uniform(120, 320) * w * h / 19200)
    x, y, near = rng.uniform(0, w, count), rng.uniform(0, h, count), rng.exponential(0.5, count)
    slant = rng.normal(0, 0.15)
    for a, b, s in zip(x, y, near, strict=True):
        if weather == "snow":
            cv2.circle(veil, (int(a), int(b)), int(min(s * w / 160, w / 60)), float(min(0.35 + 0.3 * s, 0.9)), -1)
        else:
            length = (2 + 7 * s) * w / 160
            cv2.line(
                veil, (int(a), int(b)), (int(a + slant * length), int(b + length)), float(min(0.08 + 0.06 * s, 0.25)), 1
            )
    veil = cv2.GaussianBlur(veil, (3, 3), 0)[..., None]
    return picture + veil * (np.float32(light.horizon * 0.9) - picture)


def develop(picture: np.ndarray, camera: CameraConfig, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Radiance (H, W, 3) to uint8: bloom, automatic exposure, vignetting, blur, tone curve, white balance, noise."""
    h, w = picture.shape[:2]
    if light.lamps:
        bright = np.maximum(picture - 1.0, 0)
        picture = (
            picture + 0.5 * cv2.GaussianBlur(bright, (0, 0), w / 70) + 0.25 * cv2.GaussianBlur(bright, (0, 0), w / 22)
        )
    grey = np.minimum(picture.mean(2), 1.6)
    # Metering weighs the lower two thirds more, so that a bright sky does not make the street too dark.
    level = 0.35 * grey.mean() + 0.65 * grey[h // 3 :].mean()
    gain = light.key / max(float(level), 0.02) ** 0.85 * 2.0**camera.exposure_ev
    v, u = np.mgrid[0:h, 0:w].astype(np.float32)
    radius = ((u / w - 0.5) ** 2 + (v / h - 0.5) ** 2) * 2
    picture = picture * (gain * (1 - camera.vignette * radius))[..., None]
    picture = picture * np.array([camera.red_gain, 1, camera.blue_gain], np.float32)
    if camera.blur_px > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), camera.blur_px * w / 160)
    index = np.clip(picture * (1.5 * 4095 / 6), 0, 4095).astype(np.int32)
    out = _TONE[index]
    sigma = camera.noise * (1.6 + 2.2 * np.clip(gain - 1, 0, 3))
    out += rng.standard_normal(out.shape, dtype=np.float32) * sigma * (0.6 + 0.4 * (1 - out / 255))
    if camera.grey:
        out[:] = out @ np.array([0.299, 0.587, 0.114], np.float32)[:, None]
    return np.clip(out + 0.5, 0, 255).astype(np.uint8)
