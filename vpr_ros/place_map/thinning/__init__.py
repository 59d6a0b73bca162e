"""Which keyframes a map can do without."""

from vpr_ros.place_map.thinning.prune import Bound, prune

__all__ = ["Bound", "prune"]
