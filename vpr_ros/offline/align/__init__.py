"""Two drives in one frame: through the datum of their satellite fixes, or by their clouds and a pose graph."""

from vpr_ros.offline.align.bags import Alignment, align_bags

__all__ = ["Alignment", "align_bags"]
