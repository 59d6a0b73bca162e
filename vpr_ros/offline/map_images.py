"""The pictures of a map's keyframes, for methods that are compared on the same views."""

from collections.abc import Iterable

import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import VprError
from vpr_ros.place_map import PlaceMap


def map_images(place_map: PlaceMap, ids: Iterable[int]) -> list[np.ndarray]:
    """Thumbnails (H, W, 3) uint8 RGB of keyframes. Raises VprError naming a keyframe that has none."""
    images = []
    for keyframe_id in ids:
        image = pictures.decode(place_map.thumbnail(int(keyframe_id)))
        if image is None:
            raise VprError(f"keyframe {keyframe_id} of map {place_map.path} has no readable thumbnail.")
        images.append(image)
    return images
