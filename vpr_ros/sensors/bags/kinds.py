"""What a path holds by its names alone: a bag, or a folder of pictures that is read like one."""

from pathlib import Path
from typing import Literal

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.storage.finding import ENDINGS, has_ending, visible_files
from vpr_ros.sensors.picture_files import is_picture_name

PathKind = Literal["bag", "pictures", "other"]


def kind_of(path: str | Path) -> PathKind:
    """ "bag": a file with a bag's ending, or a folder with one or with metadata.yaml; "pictures": a folder without
    these, but with pictures in it. VprError for a folder that cannot be read."""
    path = Path(path)
    if not path.is_dir():
        return "bag" if has_ending(path, ENDINGS) else "other"
    files = visible_files(path)
    if any(file.name == "metadata.yaml" or has_ending(file, ENDINGS) for file in files):
        return "bag"
    return "pictures" if any(is_picture_name(file) for file in files) else "other"


def refuse_bag(folder: str | Path) -> None:
    """VprError where a folder that was named for its pictures is a bag."""
    if kind_of(folder) == "bag":
        raise VprError(f"{folder} is a bag, not a folder of pictures; map, localize and eval run take bags")
