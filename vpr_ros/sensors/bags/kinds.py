"""What a path holds by its names alone: a bag, or a folder of pictures that is read like one."""

from pathlib import Path
from typing import Literal

from vpr_ros.sensors.picture_files import is_picture_name

BAG_ENDINGS = (".mcap", ".db3", ".bag", ".zstd", ".active")
PathKind = Literal["bag", "pictures", "other"]


def kind_of(path: str | Path) -> PathKind:
    """ "bag": a file with a bag's ending, or a folder with one or with metadata.yaml; "pictures": a folder without
    these, but with pictures in it."""
    path = Path(path)
    if not path.is_dir():
        return "bag" if path.suffix in BAG_ENDINGS else "other"
    names = list(path.iterdir())
    if any(name.name == "metadata.yaml" or (name.suffix in BAG_ENDINGS and name.name[0] != ".") for name in names):
        return "bag"
    return "pictures" if any(is_picture_name(name) for name in names) else "other"
