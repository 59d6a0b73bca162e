"""The map: keyframes in one SQLite file, the search index over them, and the tools that edit them."""

from vpr_ros.configuration import GateConfig
from vpr_ros.place_map.describer import Describer
from vpr_ros.place_map.edit import redescribe, replace_poses, thumbnail_features
from vpr_ros.place_map.export import export_csv, export_tum
from vpr_ros.place_map.gating import KeyframeGate
from vpr_ros.place_map.index import PartedIndex, PlaceIndex, map_index
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.merging import ancestors, append, merge
from vpr_ros.place_map.mounting import MountedCamera
from vpr_ros.place_map.statistics import DriveStatistics
from vpr_ros.place_map.store import PlaceMap, Session
from vpr_ros.place_map.summary import info, limits
from vpr_ros.place_map.thinning import Bound, prune

__all__ = [
    "Bound",
    "Describer",
    "DriveStatistics",
    "GateConfig",
    "KeyframeGate",
    "Keyframes",
    "MountedCamera",
    "PartedIndex",
    "PlaceIndex",
    "PlaceMap",
    "Session",
    "ancestors",
    "append",
    "export_csv",
    "export_tum",
    "info",
    "limits",
    "map_index",
    "merge",
    "prune",
    "redescribe",
    "replace_poses",
    "thumbnail_features",
]
