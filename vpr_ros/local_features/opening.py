"""Which local features a program works with: XFeat where its extra is installed, else SIFT."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal, Protocol, get_args

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.local_features.features import LocalFeatures
from vpr_ros.student.catalogue.names import XFEAT

FeatureChoice = Literal["auto", "xfeat", "sift", "none"]
MAX_KEYPOINTS = 800  # of a query; a map keeps those that fit into its bytes
SIDE = 640  # pixels of the longer side of the picture that keypoints are looked for in


class LocalExtractor(Protocol):
    """Makes the local features of pictures."""

    kind: str

    def extract(self, images: Sequence[np.ndarray]) -> list[LocalFeatures]:
        """Local features of RGB pictures (H, W, 3) uint8, of any sizes."""
        ...


def xfeat_missing() -> str:
    """Why XFeat cannot be used here, in a few words; empty where it can."""
    if find_spec("kornia") is None:
        return "kornia is not installed"
    return "" if XFEAT.installed() is not None else "its weights are not installed"


def open_local_features(
    choice: str = "auto", device: str = "cpu", max_keypoints: int = MAX_KEYPOINTS, side: int = SIDE
) -> LocalExtractor | None:
    """The extractor of a choice; None for "none". "auto" is XFeat where it can be used, else SIFT.

    VprError for another word, and where XFeat was asked for by name and cannot be used.
    """
    if choice not in get_args(FeatureChoice):
        raise VprError(f"local features are one of {', '.join(get_args(FeatureChoice))}, not '{choice}'")
    if choice == "none":
        return None
    missing = xfeat_missing()
    if choice == "xfeat" and missing:
        raise VprError(f"XFeat cannot be used: {missing}; pip install 'vpr_ros[features]', or choose sift")
    if choice == "sift" or missing:
        from vpr_ros.local_features.sift import SiftExtractor

        return SiftExtractor(max_keypoints, side)
    from vpr_ros.local_features.xfeat import XFeatExtractor

    weights = XFEAT.installed()
    assert weights is not None
    return XFeatExtractor(weights, max_keypoints, side, device)
