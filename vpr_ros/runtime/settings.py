"""How the live core is configured, by the nodes and by the offline commands alike: each default stands here, once.

Standard library only, as `vpr_ros.configuration`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vpr_ros.configuration import GateConfig, Precision, RecognitionConfig
from vpr_ros.errors import VprError

Mode = Literal["localize", "map", "slam"]
Verify = Literal["none", "camera", "lidar", "auto"]
PoseSource = Literal["tf", "pose", "pose_with_covariance", "odometry", "none"]

PLACE_RADIUS_M = 10.0  # of a new map whose drive has poses
PLACE_RADIUS_FRAMES = 2.0  # of one whose drive has none


@dataclass(frozen=True)
class PipelineConfig:
    """Network, map, and what becomes of an image."""

    map_path: str | Path = ""
    mode: Mode = "localize"
    checkpoint: str | Path = "nano"
    device: str = "auto"
    precision: Precision = "auto"
    threads: int = 0  # of the network on a CPU; 0: as many as its work is worth
    gate: GateConfig = field(default_factory=GateConfig)
    recognition: RecognitionConfig = field(default_factory=RecognitionConfig)
    map_frame: str = "map"  # frame of the poses in a new map
    session: str = ""  # name of the drive in the map; empty: the time of day
    source: str = "live"  # where the drive comes from: "live", or the bag's path
    keep_clouds: bool = False  # the LiDAR cloud of each keyframe
    map_from_odometry: bool = True  # as of MapperConfig
    local_features: str = "auto"  # auto, xfeat, sift, none, or a file of XFeat's weights
    local_budget_s: float = 0.15  # for local features of one frame while the filter is unsure; 0: no limit
    verify: Verify = "none"  # by what the geometry of accepted matches is looked at

    @property
    def place_radius(self) -> float | None:
        """Size of a place in metres, in frames without poses; None: the map's own, or a new map's default."""
        return self.recognition.place_radius


@dataclass(frozen=True)
class RecordingConfig:
    """What is recorded of a drive as training data, by the recorder node and by `vpr_ros frames`."""

    drive: str = ""  # name in the set; empty: chosen by the caller
    city: str = "own"  # poses of one city share one frame
    condition: str = ""  # such as "winter/day/snow"
    spacing_m: float = 1.0  # 0 keeps every frame
    heading_deg: float = 15.0
    frame_every: int = 10  # of a drive that is known to have no poses: every n-th complete frame
    require_cloud: bool = True
    jpeg_quality: int = 90
    max_width: int = 640
    # Of poses in the map frame; "none": odometry is taken at once, "no poses": there is no odometry either.
    pose_source: PoseSource | Literal["bag", "no poses"] = "tf"

    def __post_init__(self):
        rules = (
            (self.spacing_m >= 0, f"the spacing is 0 m or more, not {self.spacing_m:g}"),
            (self.heading_deg > 0, f"the heading is more than 0 degrees, not {self.heading_deg:g}"),
            (self.frame_every >= 1, f"every n-th frame is kept, n being 1 or more, not {self.frame_every}"),
            (1 <= self.jpeg_quality <= 100, f"JPEG quality is 1 to 100, not {self.jpeg_quality}"),
            (self.max_width >= 16, f"images are at least 16 pixels wide, not {self.max_width}"),
        )
        for holds, reason in rules:
            if not holds:
                raise VprError(reason)
