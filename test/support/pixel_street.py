"""A drive along a painted wall, and a real if modest descriptor of it: the blurred, normalised picture itself."""

import cv2
import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.geometry import planar_transform
from vpr_ros.observation import Observation

SIZE = (48, 64)


class PixelExtractor:
    """The interface of DescriptorExtractor over 12 x 16 normalised grey values."""

    dim, fingerprint, calibration, preprocessing = 192, "a1" * 32, None, {"kind": "pixels"}
    name, device, precision, parts = "pixels", "cpu", "fp32", (192,)

    def prepare(self, image):
        return cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_AREA)

    def describe(self, images):
        rows = []
        for image in images:
            if image.std() == 0:
                raise FrameError("the image shows nothing: the frame is skipped")
            small = cv2.resize(cv2.cvtColor(self.prepare(image), cv2.COLOR_RGB2GRAY), (16, 12)).astype(np.float64)
            small = (small - small.mean()).ravel()
            rows.append(small / np.linalg.norm(small))
        return np.array(rows).astype(np.float16)


def panorama(seed, length=3000):
    noise = np.random.default_rng(seed).normal(size=(60, length, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    return np.clip(128 + smooth / smooth.std() * 45, 0, 255).astype(np.uint8)


def observations(wall, metres, light=1.0, start_ns=10**9, odometry=True, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    for i, x in enumerate(metres):
        left = int(round(10 * x))
        image = wall[:, left : left + 80].astype(np.float64) * light + rng.normal(0, 1 + noise, (60, 80, 3))
        T = planar_transform(x, 0, 0)
        yield Observation(start_ns + i * 100_000_000, np.clip(image, 0, 255).astype(np.uint8), T if odometry else None)


def take(owner, extractor, observation):
    """One frame described and handed to a Mapper or a Localizer."""
    return owner.take(observation, extractor.describe([observation.image])[0])
