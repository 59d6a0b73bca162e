"""How mapping and recognition are configured: each default stands here, once.

Standard library only, so that `vpr_ros --help` and the nodes' parameter tables read the defaults without loading numpy
or torch.
"""

from dataclasses import dataclass, field
from typing import Literal

DRIVE_MEAN_FRAMES = 60.0  # that a calibration is fitted with, unless told otherwise
# One core compares so much in 10 ms, the time between two pictures of a fast camera being 33.
EXACT_SEARCH_MB = 128.0
Precision = Literal["auto", "fp32", "fp16", "bf16"]  # of a network's arithmetic; auto: fp16 on CUDA, fp32 on a CPU


@dataclass(frozen=True)
class GateConfig:
    """When a frame becomes a keyframe.

    With poses: after `distance_m` or a turn of `heading_deg`. Without: when the view differs from the last keyframe's
    (`novelty_similarity`). `every_n` overrides both.
    """

    distance_m: float = 2.0
    heading_deg: float = 15.0  # turn about any axis
    novelty_similarity: float = 0.9  # cosine to the last keyframe below which a frame without pose is new
    slip_similarity: float | None = None  # cosine above which a frame is not kept although odometry says "moved"
    every_n: int | None = None  # keep every n-th frame, whatever pose and view; 1 keeps all
    # Of these frames, one with a pose in the map frame is left out where the map already answers it: its keyframes of
    # that place are more similar to the frame than those of all others, by this cosine. None: all are kept, since what
    # was left out cannot be got back, neither for another network nor for another light, and a map can be pruned later.
    known_lead: float | None = None

    def __post_init__(self):
        if self.distance_m <= 0 or self.heading_deg <= 0 or (self.every_n is not None and self.every_n < 1):
            raise ValueError("distance_m and heading_deg must be positive and every_n at least 1")
        if self.known_lead is not None and not self.known_lead > 0:
            raise ValueError(f"known_lead {self.known_lead:g} is not above 0, or None")


@dataclass(frozen=True)
class MotionConfig:
    """When odometry is taken for wrong, or missing for too long."""

    max_speed_mps: float = 60.0  # faster than this the odometry has jumped
    jump_slack_m: float = 2.0  # a smaller correction is never a jump
    max_gap_s: float = 5.0  # without odometry, a longer gap between images resets the filter


@dataclass(frozen=True)
class FilterConfig:
    """Motion and map-leaving model. Rates per frame hold without odometry and count frames of new content."""

    sigma_floor_m: float = 0.3  # error of one shift, whatever its length
    sigma_per_m: float = 0.1  # error per metre travelled: odometry scale, lane changes
    stand_weight: float = 0.03  # share of hypotheses that do not move although odometry does
    reverse_weight: float = 0.02  # share that move against the mapped direction
    plain_steps: tuple[float, ...] = (0.05, 0.30, 0.35, 0.20, 0.10)  # keyframe steps -1, 0, 1, 2, ... without odometry
    mix_weight: float = 0.1  # per shift, to other drives through the same place
    mix_above: float = 1e-4  # only from keyframes that are at least this probable: looking up neighbours costs time
    turn_weight_m: float = 1.0  # metres that one radian of turning counts
    max_heading_deg: float = 45.0  # keyframes whose headings differ by more do not mix
    prior_off_map: float = 0.5
    leave_per_m: float = 1 / 200
    return_per_m: float = 1 / 200
    leave_per_frame: float = 0.004
    return_per_frame: float = 0.01
    restart_per_frame: float = 0.005  # the robot was carried elsewhere, or the model above does not hold
    prune_below: float = 1e-9
    max_active: int = 2048
    motion: MotionConfig = field(default_factory=MotionConfig)


@dataclass(frozen=True)
class DecisionConfig:
    """When a place is accepted."""

    accept_probability: float = 0.95
    # Instead of a probability: the share of accepted places that shall be right. The calibration in force says from
    # which probability on that is so.
    accept_precision: float | None = None
    min_margin: float = 0.2  # over the second distinct place
    unknown_probability: float = 0.5  # P(unknown) from which the answer is "unknown"
    require_support: bool = True  # the frame's own retrieval must contain the place: no match by dead reckoning alone
    min_consistent_frames: int = 1  # frames in a row with the same best place, moving with the robot

    def __post_init__(self):
        if self.accept_precision is None:
            return
        if not 0 < self.accept_precision < 1:
            raise ValueError(f"accept_precision {self.accept_precision:g} is not between 0 and 1, as 0.99 is")
        if self.accept_probability != DecisionConfig.accept_probability:
            raise ValueError(
                f"accept_probability {self.accept_probability:g} and accept_precision {self.accept_precision:g} "
                "exclude each other: a precision is reached by the probability that belongs to it"
            )


@dataclass(frozen=True)
class RecognitionConfig:
    """Everything between a descriptor and an answer."""

    top_k: int = 50
    # Descriptors of up to so many megabytes (2 bytes a number) are held in memory and searched exactly; of a larger map
    # they stay on disk, and short codes of them nominate those that are compared exactly.
    exact_search_mb: float = EXACT_SEARCH_MB
    place_radius: float | None = None  # metres (frames without poses); None: the map's, else the calibration's
    max_places: int = 10
    # Frames of new content that the mean of the drive remembers, which queries are compared without; keyframes are
    # compared without the mean of their session. 0: descriptors are compared as they are. None: as the calibration in
    # force was fitted, since its probabilities hold for that only.
    drive_mean_frames: float | None = None
    # Frames nearer than this, or than the place radius where that is smaller, share one frame's evidence.
    evidence_spacing_m: float = 10.0
    loop_min_gap_s: float = 30.0  # the current drive's keyframes younger than this are not searched
    loop_min_travel_m: float = (
        20.0  # nor those nearer than this along the drive: a standing robot must not match itself
    )
    local_candidates: int = 10  # retrieved keyframes that are matched by local features while the filter is unsure
    # Belief in the last place from which on a frame that goes on from there is not matched. Probabilities were fitted
    # with this one; 1 matches every frame.
    local_rest_at: float = 0.95
    filter: FilterConfig = field(default_factory=FilterConfig)
    decision: DecisionConfig = field(default_factory=DecisionConfig)

    def __post_init__(self):
        if self.drive_mean_frames is not None and not self.drive_mean_frames >= 0:
            raise ValueError("drive_mean_frames is 0 or more, or None")
        if not self.exact_search_mb >= 0:
            raise ValueError(f"exact_search_mb {self.exact_search_mb:g} is not 0 or more")
