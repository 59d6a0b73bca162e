"""Images from whatever holds some: a folder of pictures, a bag, or a map's thumbnails."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import VprError
from vpr_ros.offline.map_images import map_images
from vpr_ros.place_map import PlaceMap
from vpr_ros.sensors import Drive, DriveTopics
from vpr_ros.sensors.bags.kinds import kind_of
from vpr_ros.sensors.picture_files import is_picture_name, list_pictures


def count_images(path: str | Path, at_most: int, image_topic: str | None = None) -> int:
    """How many images `images_of` yields for the same arguments, where all can be read."""
    if kind_of(path) == "bag":
        with Drive(path, DriveTopics(image=image_topic, odom="none", pose="none")) as drive:
            found = len(drive)
    elif Path(path).is_dir():
        found = len(list_pictures(Path(path)))
    elif is_picture_name(Path(path)):
        return 0
    else:
        with PlaceMap.open(path) as place_map:
            found = len(place_map)
    return -(-found // _step(found, at_most))


def _step(found: int, at_most: int) -> int:
    return max(1, -(-found // at_most))


def images_of(path: str | Path, at_most: int, image_topic: str | None = None) -> Iterator[np.ndarray]:
    """Images (H, W, 3) uint8 RGB, at most so many, spread evenly over the source; unreadable ones are left out.

    Raises VprError for a path that is no folder of images, bag or map.
    """
    path = Path(path)
    if not path.exists():
        raise VprError(f"'{path}' does not exist: give a folder of images, a bag or a map.")
    if kind_of(path) == "bag":
        with Drive(path, DriveTopics(image=image_topic, odom="none", pose="none")) as drive:
            step = _step(len(drive), at_most)
            yield from (observation.image for observation in islice(drive, 0, None, step))
    elif path.is_dir():
        files = list_pictures(path)
        for file in files[:: _step(len(files), at_most)]:
            image = pictures.read(file)
            if image is not None:
                yield image
    elif is_picture_name(path):
        raise VprError(f"'{path}' is a single image: give the folder that holds it.")
    else:
        with PlaceMap.open(path) as place_map:
            ids = place_map.keyframes().ids
            for keyframe_id in ids[:: _step(len(ids), at_most)]:
                yield from map_images(place_map, [keyframe_id])
