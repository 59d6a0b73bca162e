"""Places by LiDAR: which scans look alike, without any training."""

from vpr_ros.lidar.polar_grid import (
    PolarGridConfig,
    compare,
    compare_unit,
    likely_turns,
    polar_grid,
    polar_grids,
    unit_grids,
)

__all__ = ["PolarGridConfig", "compare", "compare_unit", "likely_turns", "polar_grid", "polar_grids", "unit_grids"]
