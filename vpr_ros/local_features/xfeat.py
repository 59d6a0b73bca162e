"""XFeat (Potje et al., CVPR 2024): its network by kornia, its weights from the extra [features] or a file."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vpr_ros.errors import VprError
from vpr_ros.local_features.features import LocalFeatures
from vpr_ros.tensor_files import read_tensors

KIND = "xfeat"
LEAST_SCORE = 0.01  # of the heat map: low, since a small or dark picture has few clear corners
MOST_ENLARGED = 6.0  # times; beyond that a thumbnail has nothing more to show, and costs as much as a picture
_MULTIPLE = 32  # sides that the network works on


class XFeatExtractor:
    """Keypoints of pictures, one by one or several at a time."""

    kind = KIND

    def __init__(self, weights: Path, max_keypoints: int, side: int, device: str = "cpu"):
        """`side` is the longer side in pixels that pictures are scaled to, small ones too as far as that helps."""
        try:
            kornia: Any = import_module("kornia.feature")
        except ImportError as error:
            raise VprError(f"XFeat needs kornia ({error}): pip install 'vpr_ros[features]'") from error
        self.max_keypoints, self.side, self.device = max_keypoints, side, torch.device(device)
        self._net: Any = kornia.XFeat(top_k=max_keypoints, detection_threshold=LEAST_SCORE)
        state, _ = read_tensors(weights)
        try:
            self._net.net.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise VprError(f"{weights} does not hold XFeat's weights: fetch them again") from error
        self._net.eval().to(self.device)

    def extract(self, images: Sequence[np.ndarray]) -> list[LocalFeatures]:
        """Local features of RGB pictures (H, W, 3) uint8, of any sizes; those of one size run together."""
        scaled = [_scaled(image, self.side) for image in images]
        found: list[LocalFeatures | None] = [None] * len(images)
        for shape in dict.fromkeys(image.shape for image in scaled):
            rows = [i for i, image in enumerate(scaled) if image.shape == shape]
            batch = torch.from_numpy(np.stack([scaled[i] for i in rows])).to(self.device)
            for i, one in zip(rows, self._net.detectAndCompute(batch[:, None].float() / 255), strict=True):
                height, width = images[i].shape[:2]
                scale = np.array([width / shape[1], height / shape[0]], dtype=np.float32)
                pixels = (one["keypoints"].float().cpu().numpy() + 0.5) * scale - 0.5
                scores, descriptors = (one[key].float().cpu().numpy() for key in ("scores", "descriptors"))
                found[i] = LocalFeatures(KIND, (width, height), pixels, scores, descriptors)
        return [one for one in found if one is not None]


def _scaled(image: np.ndarray, side: int) -> np.ndarray:
    """Grey picture whose longer side is about `side`, or MOST_ENLARGED times what it was; multiples of 32 both."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    factor = min(side / max(grey.shape), MOST_ENLARGED)
    height, width = (max(_MULTIPLE, round(s * factor / _MULTIPLE) * _MULTIPLE) for s in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
