"""The tables of the nodes `vpr` and `recorder`; the offline commands take the first one's by the same names.

A default that a configuration has is read from there. The range of a parameter and its sentence stand here.
"""

from operator import attrgetter
from typing import Any, get_args

from vpr_ros.configuration import Precision
from vpr_ros.runtime.input_settings import InputSettings, OdomSource, Reliability
from vpr_ros.runtime.parameters.localiser import LOCALISER_PARAMETERS
from vpr_ros.runtime.parameters.parameter import LARGE, Parameter
from vpr_ros.runtime.settings import Mode, PipelineConfig, PoseSource, RecordingConfig, Verify
from vpr_ros.sensors.bags.config import Rotate

_DEFAULTS = PipelineConfig()


def setting(
    target: str,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    name: str = "",
    none: Any = None,
    choices: tuple[str, ...] = (),
    read_only: bool = False,
    dynamic: bool = False,
) -> Parameter:
    """The parameter that sets a field of PipelineConfig, given as a path; the field has the default.

    Its name is the field's unless `name` is given; `none` is the value that stands for None.
    """
    default = attrgetter(target)(_DEFAULTS)
    return Parameter(
        name or target.rpartition(".")[2],
        none if default is None else default,
        description,
        minimum,
        maximum,
        choices,
        read_only,
        dynamic,
        target,
        none,
    )


_IMAGE_TIMEOUT = Parameter(
    "image_timeout_s",
    5.0,
    "Diagnostics complain after so many seconds without an image.",
    0.1,
    3600.0,
    dynamic=True,
)

SENSOR_PARAMETERS = (
    Parameter(
        "compressed", InputSettings.compressed, "Subscribe image/compressed (CompressedImage) instead of image (Image)."
    ),
    Parameter(
        "image_reliability",
        InputSettings.image_reliability,
        "QoS asked of the camera. auto: reliable where all its publishers are, else best_effort, which hears all.",
        choices=get_args(Reliability),
    ),
    Parameter(
        "image_depth",
        InputSettings.image_depth,
        "Images that the middleware may hold for us. The node answers the newest in any case; "
        "a depth above 1 lets it count what it drops.",
        1,
        100,
    ),
    Parameter(
        "rotate",
        InputSettings.rotate,
        "Degrees clockwise that make the picture upright: 90 for a camera whose top points to the right, seen from "
        "behind, 180 for one that hangs upside down. auto: by the camera's roll in TF, where fixed links tell it.",
        choices=get_args(Rotate),
    ),
    Parameter(
        "points_reliability",
        InputSettings.points_reliability,
        "QoS asked of the LiDAR, as image_reliability.",
        choices=get_args(Reliability),
    ),
    Parameter(
        "odom_reliability",
        InputSettings.odom_reliability,
        "QoS asked of odometry and poses, as image_reliability.",
        choices=get_args(Reliability),
    ),
    Parameter(
        "odom_source",
        InputSettings.odom_source,
        "Where odometry comes from: the topic when messages come, else TF (auto), one of both, or nowhere.",
        choices=get_args(OdomSource),
    ),
    Parameter(
        "pose_source",
        InputSettings.pose_source,
        "Where poses in the map frame come from, for mapping and recording: TF, or the "
        "topic pose with this message type.",
        choices=get_args(PoseSource),
    ),
    Parameter("base_frame", InputSettings.base_frame, "The robot's frame; all poses are its poses."),
    Parameter("odom_frame", InputSettings.odom_frame, "Odometry's frame, for TF."),
    Parameter("map_frame", InputSettings.map_frame, "Frame of the poses in a new map; an existing map keeps its own."),
    Parameter(
        "max_gap_s",
        InputSettings.max_gap_s,
        "Poses are interpolated between samples at most this far apart, in seconds.",
        0.001,
        3600.0,
    ),
    *(
        Parameter(
            f"{name}_offset_s",
            getattr(InputSettings, f"{name}_offset_s"),
            f"Added to the stamps of {what}, in seconds, where another clock sets them than the images'; "
            "`vpr_ros doctor` measures it.",
            -LARGE,
            LARGE,
        )
        for name, what in (("odom", "odometry"), ("pose", "poses in the map frame"), ("points", "clouds"))
    ),
    Parameter(
        "pose_wait_s",
        InputSettings.pose_wait_s,
        "How long an image waits for odometry of its time, in seconds.",
        0.0,
        10.0,
    ),
    Parameter(
        "max_cloud_gap_s",
        InputSettings.max_cloud_gap_s,
        "A cloud belongs to an image at most this far away in time, in seconds.",
        0.0,
        10.0,
    ),
    Parameter(
        "cloud_wait_s",
        InputSettings.cloud_wait_s,
        "How long an image waits for a cloud of its time, in seconds.",
        0.0,
        10.0,
    ),
)

VPR_PARAMETERS = (
    setting(
        "mode",
        "localize: recognise a finished map. map: write one. slam: write one and recognise "
        "it and the drive's own past.",
        choices=get_args(Mode),
    ),
    setting("map_path", "The map file. In the modes map and slam a missing one is made."),
    setting("checkpoint", "The network: the name of a shipped one, or a .safetensors file."),
    setting("device", "auto, cpu, cuda or cuda:N.", read_only=True),
    setting("precision", "auto is fp16 on CUDA and fp32 on a CPU.", choices=get_args(Precision), read_only=True),
    setting(
        "threads",
        "Threads of the network on a CPU; 0: as many as its work is worth, for nano one.",
        0,
        256,
        read_only=True,
    ),
    setting(
        "local_features",
        "Keypoints that the map keeps of each keyframe: auto (the map's kind; for a new map XFeat where it is "
        "installed, else SIFT), xfeat, sift, none, or a file of XFeat's weights.",
    ),
    *SENSOR_PARAMETERS,
    setting("session", "Name of this drive in the map; empty: the time of the first configure."),
    setting(
        "recognition.place_radius",
        "Size of a place in metres (in frames without poses); 0: the map's own, 10 for a new map.",
        0.0,
        LARGE,
        none=0.0,
    ),
    setting("gate.distance_m", "With poses: a keyframe every so many metres.", 0.01, LARGE, "keyframe_distance_m"),
    setting(
        "gate.heading_deg", "With poses: and after turning by so many degrees.", 0.1, 360.0, "keyframe_heading_deg"
    ),
    setting(
        "gate.novelty_similarity",
        "Without poses: a keyframe when the view is less similar than this to the last one.",
        -1.0,
        1.0,
        "keyframe_novelty",
    ),
    setting(
        "gate.every_n",
        "A keyframe every so many frames, whatever else; 0: by distance or novelty.",
        0,
        1_000_000,
        "keyframe_every",
        none=0,
    ),
    setting(
        "gate.known_lead",
        "Mapping where the map knows the place, with poses in the map frame: no keyframe where the map's own of the "
        "place lead those of all others by this cosine similarity, 0.1 say; 0: all are kept.",
        0.0,
        2.0,
        "keyframe_known_lead",
        none=0.0,
    ),
    setting("keep_clouds", "Keep the LiDAR cloud of each keyframe, so that LiDAR can verify matches."),
    setting(
        "recognition.decision.accept_probability",
        "A place is accepted from this probability on.",
        0.0,
        1.0,
        dynamic=True,
    ),
    setting(
        "recognition.decision.accept_precision",
        "Instead of accept_probability: the share of accepted places that shall be right. The calibration in force "
        "says from which probability on it is; 0: accept_probability counts.",
        0.0,
        0.9999,
        none=0.0,
        dynamic=True,
    ),
    setting(
        "recognition.decision.min_margin", "And when it leads the second place by this much.", 0.0, 1.0, dynamic=True
    ),
    setting(
        "recognition.decision.unknown_probability",
        "The answer is unknown from this probability of being off the map on.",
        0.0,
        1.0,
        dynamic=True,
    ),
    setting(
        "recognition.decision.min_consistent_frames",
        "Frames in a row that must agree before a place is accepted.",
        1,
        1000,
        dynamic=True,
    ),
    setting("recognition.top_k", "Keyframes that the search returns.", 1, 10_000),
    setting(
        "recognition.exact_search_mb",
        "Descriptors of a map of up to so many megabytes are held in memory and searched exactly. Of a larger map they "
        "stay on disk; short codes of them are searched, and the best are compared exactly.",
        0.0,
        1e6,
    ),
    setting(
        "recognition.local_candidates",
        "Keyframes that are matched by local features while the filter is unsure, where map and calibration have "
        "such; 0: none.",
        0,
        100,
    ),
    setting(
        "recognition.local_rest_at",
        "Belief in the last place from which on a frame that goes on from there is not matched. Probabilities were "
        "fitted with the default; 1: every frame is matched.",
        0.0,
        1.0,
    ),
    setting(
        "local_budget_s",
        "Seconds that local features of one frame may take while the filter is unsure; 0: no limit. /diagnostics "
        "counts the frames for which that did not suffice.",
        0.0,
        60.0,
    ),
    setting("recognition.max_places", "Places that an answer lists.", 1, 1000),
    setting(
        "recognition.drive_mean_frames",
        "Images are compared without the mean of their drive, which is its light, season and camera; it remembers so "
        "many frames of new content. 0: compared as they are; -1: as the probabilities were fitted.",
        -1.0,
        LARGE,
        none=-1.0,
    ),
    setting(
        "recognition.loop_min_gap_s",
        "slam: keyframes of this drive younger than this are not searched, in seconds.",
        0.0,
        LARGE,
    ),
    setting(
        "recognition.loop_min_travel_m",
        "slam: nor those left behind by less than this, in metres.",
        0.0,
        LARGE,
    ),
    setting(
        "verify",
        "How accepted matches are verified and poses measured: camera (local features; a pose where the map has "
        "depth), lidar (clouds on both sides), auto (the camera, then LiDAR from its pose or by itself), none.",
        choices=get_args(Verify),
    ),
    *LOCALISER_PARAMETERS,
    Parameter(
        "rate_limit_hz",
        0.0,
        "Answer at most so many images a second; 0: as many as the machine can.",
        0.0,
        1000.0,
        dynamic=True,
    ),
    _IMAGE_TIMEOUT,
    Parameter("stamps_log", "", "File for the stamps of the answered images, for `vpr_ros localize --only-stamps`."),
)

RECORDER_PARAMETERS = (
    Parameter("output", "", "Folder of the training set; an existing recorded one gets another drive."),
    Parameter("drive", RecordingConfig.drive, "Name of this drive; empty: the time of configure."),
    Parameter("city", RecordingConfig.city, "Name of the area; drives of one area share one map frame."),
    Parameter("condition", RecordingConfig.condition, "Light, season, weather in your words, for example night/rain."),
    *SENSOR_PARAMETERS,
    Parameter("require_cloud", RecordingConfig.require_cloud, "Skip images that have no LiDAR cloud."),
    Parameter("spacing_m", RecordingConfig.spacing_m, "Record after so many metres.", 0.0, LARGE),
    Parameter("heading_deg", RecordingConfig.heading_deg, "Or after turning by so many degrees.", 0.1, 360.0),
    Parameter("jpeg_quality", RecordingConfig.jpeg_quality, "Quality of the recorded JPEG images.", 1, 100),
    Parameter("max_width", RecordingConfig.max_width, "Wider images are shrunk to this width in pixels.", 16, 100_000),
    _IMAGE_TIMEOUT,
)
