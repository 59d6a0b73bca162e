"""How a bag is read: which topics play which role, and how far apart in time things may be."""

from dataclasses import dataclass
from typing import Literal, get_args

from vpr_ros.errors import VprError

Rotate = Literal["auto", "0", "90", "180", "270"]  # how many degrees clockwise make pictures upright; auto: TF tells


@dataclass(frozen=True)
class DriveTopics:
    """Topic names by role. None: found by type when there is one candidate. "none": the role stays empty.

    Of TF, None stands for /tf and /tf_static, or those of the one robot whose name stands before them.
    """

    image: str | None = None
    points: str | None = None
    depth: str | None = None  # images aligned with the pictures
    odom: str | None = None
    pose: str | None = None
    tf: str | None = None
    tf_static: str | None = None


@dataclass(frozen=True)
class DriveConfig:
    """Times, frames, origin and turn of the pictures that a drive is read with. VprError for a turn that is none."""

    max_gap_s: float = 1.0  # poses are interpolated between samples at most this far apart
    load_clouds: bool = False
    load_depth: bool = False  # what tells the depth of keypoints, where the bag has it: clouds and depth images
    max_cloud_gap_s: float = 0.1  # the cloud nearest to an image may be this far away in time
    cloud_wait_s: float = 1.0  # receive time that an image waits for a cloud of its stamp
    base_frame: str = "base_link"
    odom_frame: str = "odom"
    map_frame: str = "map"
    odom_offset_s: float = 0.0  # added to the stamps of odometry, which another clock may set than the images'
    pose_offset_s: float = 0.0  # added to those of poses in the map frame and of GNSS fixes
    points_offset_s: float = 0.0  # added to those of clouds
    datum: tuple[float, float, float] | None = None  # latitude, longitude (degrees), altitude of the map's origin
    rotate: Rotate = "auto"
    least: tuple[int, int] | None = None  # height, width that pictures need: larger JPEGs may come reduced to these

    def __post_init__(self):
        rotate_of(self.rotate)


def rotate_of(text: str) -> Rotate:
    """The text itself; VprError where it is no Rotate."""
    for rotate in get_args(Rotate):
        if text == rotate:
            return rotate
    raise VprError(
        f"rotate is one of {', '.join(get_args(Rotate))} (degrees clockwise that make pictures upright), not '{text}'"
    )
