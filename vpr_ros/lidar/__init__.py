"""Places by LiDAR: which scans look alike, without any training."""

from vpr_ros.lidar.polar_grid import PolarGridConfig, compare, likely_turns, polar_grid, polar_grids, unit_columns

__all__ = ["PolarGridConfig", "compare", "likely_turns", "polar_grid", "polar_grids", "unit_columns"]
