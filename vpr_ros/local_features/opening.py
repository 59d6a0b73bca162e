"""Which local features a program works with: XFeat where its extra is installed, else SIFT."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
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


def xfeat_advice(missing: str) -> str:
    """The sentence on XFeat where it is missing."""
    return f"XFeat cannot be used ({missing}): pip install 'vpr_ros[features]'"


def kind_of(choice: str) -> str | None:
    """The kind of features of a choice, "auto" where this machine decides, None for none.

    VprError where the choice is neither a word nor a file of weights.
    """
    if choice in get_args(FeatureChoice):
        return None if choice == "none" else choice
    if Path(choice).expanduser().is_file():
        return "xfeat"
    words = ", ".join(get_args(FeatureChoice))
    raise VprError(f"local features are one of {words}, or a file of XFeat's weights, not '{choice}'")


def open_local_features(
    choice: str = "auto", device: str = "cpu", max_keypoints: int = MAX_KEYPOINTS, side: int = SIDE
) -> LocalExtractor | None:
    """The extractor of a choice; None for "none". "auto" is XFeat where it can be used, else SIFT.

    A choice may also be a file of XFeat's weights. VprError for another word, and where XFeat was asked for and cannot
    be used.
    """
    kind = kind_of(choice)
    if kind is None:
        return None
    weights = XFEAT.installed() if choice in get_args(FeatureChoice) else Path(choice).expanduser()
    missing = xfeat_missing() if weights is None or find_spec("kornia") is None else ""
    if kind == "xfeat" and missing:
        raise VprError(xfeat_advice(missing))
    if kind == "sift" or weights is None or missing:
        from vpr_ros.local_features.sift import SiftExtractor

        return SiftExtractor(max_keypoints, side)
    from vpr_ros.local_features.xfeat import XFeatExtractor

    return XFeatExtractor(weights, max_keypoints, side, device)
