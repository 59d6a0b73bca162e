"""Local features of pictures: keypoints with descriptors, matched one by one, with depth where a sensor gave it."""

from typing import TYPE_CHECKING

from vpr_ros.lazy import lazily

if TYPE_CHECKING:
    from vpr_ros.local_features.features import LocalFeatures
    from vpr_ros.local_features.matching import mutual_matches
    from vpr_ros.local_features.opening import LocalExtractor, open_local_features
    from vpr_ros.local_features.packing import pack, unpack

__all__ = ["LocalExtractor", "LocalFeatures", "mutual_matches", "open_local_features", "pack", "unpack"]
__getattr__ = lazily(
    "vpr_ros.local_features",
    {
        "features": ("LocalFeatures",),
        "matching": ("mutual_matches",),
        "opening": ("LocalExtractor", "open_local_features"),
        "packing": ("pack", "unpack"),
    },
)
