"""The map: keyframes in one SQLite file, the search index over them, and the tools that edit them."""

from vpr_ros.place_map.gating import GateConfig, KeyframeGate
from vpr_ros.place_map.index import PlaceIndex, map_index
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.store import PlaceMap, Session

__all__ = ["GateConfig", "KeyframeGate", "Keyframes", "PlaceIndex", "PlaceMap", "Session", "map_index"]
