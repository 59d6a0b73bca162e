"""What several drives share before any of them is mapped: the frame of their map and the size of a place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vpr_ros.errors import VprError
from vpr_ros.offline.map_bag import MapBagConfig
from vpr_ros.place_map import PlaceMap
from vpr_ros.runtime.opening import new_place_radius
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors import Drive


@dataclass(frozen=True)
class CommonFrame:
    """`leader`: the drive that brings a new map its frame, as the first drive of a map does; None: the map has one."""

    datum: tuple[float, float, float] | None
    place_radius_m: float
    leader: Path | None


def common_frame(bags: Sequence[Path], map_path: Path, core: PipelineConfig, config: MapBagConfig) -> CommonFrame:
    """What the drives would find if they were mapped one after the other; bags that cannot be read are left out.

    Poses are read of as many bags as it takes to know the frame, of the first in most cases.
    """
    datum, radius, has_poses, leads, leader = None, None, False, True, None
    if map_path.exists():
        with PlaceMap.open(map_path) as place_map:
            datum, radius = place_map.datum, place_map.place_radius_m
            has_poses, leads = place_map.has_poses, not len(place_map)
    for bag in bags:
        if not leads and (datum is not None or has_poses):
            break
        try:
            with Drive(bag, config.topics, replace(config.drive, load_clouds=False, load_depth=False)) as drive:
                posed, odom, found = bool(len(drive.poses.pose)), bool(len(drive.poses.odom)), drive.datum
        except VprError:
            continue  # what makes its part says what is wrong with it
        if leads:
            leader, leads, has_poses = bag, False, odom
            radius = radius or new_place_radius(core, posed or odom)
        datum, has_poses = datum or found, has_poses or posed
    return CommonFrame(datum, radius or new_place_radius(core, True), leader)
