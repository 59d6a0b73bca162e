"""What the nodes subscribe and how long an image waits for its poses and its cloud."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from vpr_ros.runtime.settings import PoseSource
from vpr_ros.sensors.bags.config import DriveConfig, Rotate

FixedReliability = Literal["best_effort", "reliable"]
Reliability = Literal["auto", FixedReliability]
OdomSource = Literal["auto", "topic", "tf", "none"]


@dataclass(frozen=True)
class InputSettings:
    """The fields before `clouds` are parameters of the nodes, by the same names; those after it follow from others.

    Frames and gaps are those with which a bag is read, so that live and offline give the same poses.
    """

    compressed: bool = False
    image_reliability: Reliability = "auto"
    image_depth: int = 5
    rotate: Rotate = DriveConfig.rotate
    points_reliability: Reliability = "auto"
    odom_reliability: Reliability = "auto"
    odom_source: OdomSource = "auto"
    pose_source: PoseSource = "tf"
    base_frame: str = DriveConfig.base_frame
    odom_frame: str = DriveConfig.odom_frame
    map_frame: str = DriveConfig.map_frame
    max_gap_s: float = DriveConfig.max_gap_s
    odom_offset_s: float = DriveConfig.odom_offset_s
    pose_offset_s: float = DriveConfig.pose_offset_s
    points_offset_s: float = DriveConfig.points_offset_s
    pose_wait_s: float = 0.3
    max_cloud_gap_s: float = DriveConfig.max_cloud_gap_s
    cloud_wait_s: float = 0.15
    clouds: bool = False  # observations carry clouds
    clouds_needed: bool = True  # a topic `points` without publisher is reported
    depth: bool = False  # observations carry depth images
    mapping: bool = False  # observations carry T_map_base
    mount: bool = True  # T_base_camera is used
    least: tuple[int, int] | None = None  # height, width that pictures need, as in DriveConfig

    @classmethod
    def from_values(
        cls,
        values: dict[str, Any],
        clouds: bool,
        mapping: bool,
        clouds_needed: bool = True,
        mount: bool = True,
        depth: bool = False,
        least: tuple[int, int] | None = None,
    ) -> "InputSettings":
        """Settings of a node's parameters; other parameters are ignored."""
        given: dict[str, Any] = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(
            **given,
            clouds=clouds,
            clouds_needed=clouds_needed,
            depth=depth,
            mapping=mapping,
            mount=mount,
            least=least,
        )
