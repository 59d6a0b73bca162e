"""SIFT by OpenCV, for machines without the extra [features]."""

from collections.abc import Sequence

import cv2
import numpy as np

from vpr_ros.local_features.features import LocalFeatures

KIND = "sift"
DIM = 128
_CONTRAST = 0.02  # half of OpenCV's: small and dark pictures have few clear corners


class SiftExtractor:
    """Keypoints of pictures; descriptors are square roots of SIFT's (Arandjelovic and Zisserman, CVPR 2012)."""

    kind = KIND

    def __init__(self, max_keypoints: int, side: int):
        """`side` is the longer side in pixels that larger pictures are reduced to; SIFT doubles small ones itself."""
        self.max_keypoints, self.side = max_keypoints, side
        self._sift = cv2.SIFT.create(nfeatures=max_keypoints, contrastThreshold=_CONTRAST)

    def extract(self, images: Sequence[np.ndarray]) -> list[LocalFeatures]:
        """Local features of RGB pictures (H, W, 3) uint8."""
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> LocalFeatures:
        height, width = image.shape[:2]
        grey, factor = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), min(1.0, self.side / max(height, width))
        if factor < 1:
            grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        points, raw = self._sift.detectAndCompute(grey, None)
        if not len(points):
            pixels, scores, descriptors = (np.zeros(shape, np.float32) for shape in ((0, 2), (0,), (0, DIM)))
            return LocalFeatures(KIND, (width, height), pixels, scores, descriptors)
        scores = np.array([point.response for point in points], dtype=np.float32)
        order = np.argsort(-scores, kind="stable")[: self.max_keypoints]
        scale = np.array([width / grey.shape[1], height / grey.shape[0]], dtype=np.float32)
        pixels = (np.array([point.pt for point in points], dtype=np.float32) + 0.5) * scale - 0.5
        raw = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9))
        return LocalFeatures(KIND, (width, height), pixels[order], scores[order], raw[order].astype(np.float32))
