"""The search index over a map: exact where it is small, by codes and exact comparison where it is large."""

from vpr_ros.place_map.index.of_map import content_of, map_index, map_rows
from vpr_ros.place_map.index.parted import Found, PartedIndex, part_similarities
from vpr_ros.place_map.index.place_index import PlaceIndex, rows_within
from vpr_ros.place_map.index.rows import Rows

__all__ = [
    "Found",
    "PartedIndex",
    "PlaceIndex",
    "Rows",
    "content_of",
    "map_index",
    "map_rows",
    "part_similarities",
    "rows_within",
]
