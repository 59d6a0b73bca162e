"""The parameters of the nodes: one table each, by which they are declared, checked, documented and written to YAML."""

import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vpr_ros.errors import VprError


@dataclass(frozen=True)
class Parameter:
    """One parameter: its default tells the type."""

    name: str
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False  # fixed at start
    dynamic: bool = False  # takes effect at once; all others take effect at the next configure

    @property
    def type_name(self) -> str:
        """The type as ROS tools spell it."""
        return {bool: "bool", int: "integer", float: "double", str: "string"}[type(self.default)]

    @property
    def when(self) -> str:
        """When a change takes effect."""
        return "at start only" if self.read_only else "at once" if self.dynamic else "at the next configure"

    @property
    def allowed(self) -> str:
        """The values that are accepted, in words; empty where anything of the type is."""
        if self.choices:
            return ", ".join(self.choices)
        if self.minimum is None and self.maximum is None:
            return ""
        low = "" if self.minimum is None else f"{self.minimum:g}"
        return f"{low} to {self.maximum:g}" if self.maximum is not None else f"at least {low}"


RELIABILITIES = ("best_effort", "reliable")
_LARGE = 1e9

SENSOR_PARAMETERS = (
    Parameter("compressed", False, "Subscribe image/compressed (CompressedImage) instead of image (Image)."),
    Parameter(
        "image_reliability",
        "best_effort",
        "QoS asked of the camera; best_effort hears every publisher.",
        choices=RELIABILITIES,
    ),
    Parameter(
        "image_depth",
        5,
        "Images that the middleware may hold for us. The node answers the newest in any case; "
        "a depth above 1 lets it count what it drops.",
        1,
        100,
    ),
    Parameter("points_reliability", "best_effort", "QoS asked of the LiDAR.", choices=RELIABILITIES),
    Parameter("odom_reliability", "best_effort", "QoS asked of odometry.", choices=RELIABILITIES),
    Parameter(
        "odom_source",
        "auto",
        "Where odometry comes from: the topic when messages come, else TF (auto), one of both, or nowhere.",
        choices=("auto", "topic", "tf", "none"),
    ),
    Parameter(
        "pose_source",
        "tf",
        "Where poses in the map frame come from, for mapping and recording: TF, or the "
        "topic pose with this message type.",
        choices=("tf", "pose", "pose_with_covariance", "odometry", "none"),
    ),
    Parameter("base_frame", "base_link", "The robot's frame; all poses are its poses."),
    Parameter("odom_frame", "odom", "Odometry's frame, for TF."),
    Parameter("map_frame", "map", "Frame of the poses in a new map; an existing map keeps its own."),
    Parameter(
        "max_gap_s", 1.0, "Poses are interpolated between samples at most this far apart, in seconds.", 0.001, 3600.0
    ),
    Parameter("pose_wait_s", 0.3, "How long an image waits for odometry of its time, in seconds.", 0.0, 10.0),
    Parameter(
        "max_cloud_gap_s", 0.1, "A cloud belongs to an image at most this far away in time, in seconds.", 0.0, 10.0
    ),
    Parameter("cloud_wait_s", 0.15, "How long an image waits for a cloud of its time, in seconds.", 0.0, 10.0),
)

VPR_PARAMETERS = (
    Parameter(
        "mode",
        "localize",
        "localize: recognise a finished map. map: write one. slam: write one and recognise "
        "it and the drive's own past.",
        choices=("localize", "map", "slam"),
    ),
    Parameter("map_path", "", "The map file. In the modes map and slam a missing one is made."),
    Parameter("checkpoint", "nano", "The network: the name of a shipped one, or a .safetensors file."),
    Parameter("device", "auto", "auto, cpu, cuda or cuda:N.", read_only=True),
    Parameter(
        "precision",
        "auto",
        "auto is fp16 on CUDA and fp32 on a CPU.",
        choices=("auto", "fp32", "fp16", "bf16"),
        read_only=True,
    ),
    Parameter("threads", 0, "Threads of the network on a CPU; 0: torch decides.", 0, 256, read_only=True),
    *SENSOR_PARAMETERS,
    Parameter("session", "", "Name of this drive in the map; empty: the time of the first configure."),
    Parameter(
        "place_radius",
        0.0,
        "Size of a place in metres (in frames without poses); 0: the map's own, 10 for a new map.",
        0.0,
        _LARGE,
    ),
    Parameter("keyframe_distance_m", 2.0, "With poses: a keyframe every so many metres.", 0.01, _LARGE),
    Parameter("keyframe_heading_deg", 15.0, "With poses: and after turning by so many degrees.", 0.1, 360.0),
    Parameter(
        "keyframe_novelty",
        0.9,
        "Without poses: a keyframe when the view is less similar than this to the last one.",
        -1.0,
        1.0,
    ),
    Parameter(
        "keyframe_every", 0, "A keyframe every so many frames, whatever else; 0: by distance or novelty.", 0, 1_000_000
    ),
    Parameter("keep_clouds", False, "Keep the LiDAR cloud of each keyframe, so that matches can be verified."),
    Parameter("accept_probability", 0.95, "A place is accepted from this probability on.", 0.0, 1.0, dynamic=True),
    Parameter("min_margin", 0.2, "And when it leads the second place by this much.", 0.0, 1.0, dynamic=True),
    Parameter(
        "unknown_probability",
        0.5,
        "The answer is unknown from this probability of being off the map on.",
        0.0,
        1.0,
        dynamic=True,
    ),
    Parameter(
        "min_consistent_frames", 1, "Frames in a row that must agree before a place is accepted.", 1, 1000, dynamic=True
    ),
    Parameter("top_k", 50, "Keyframes that the search returns.", 1, 10_000),
    Parameter("max_places", 10, "Places that an answer lists.", 1, 1000),
    Parameter(
        "loop_min_gap_s",
        30.0,
        "slam: keyframes of this drive younger than this are not searched, in seconds.",
        0.0,
        _LARGE,
    ),
    Parameter("loop_min_travel_m", 20.0, "slam: nor those left behind by less than this, in metres.", 0.0, _LARGE),
    Parameter(
        "verify",
        False,
        "Register accepted matches by LiDAR and publish those that agree as loop closures. "
        "Needs points and a map with clouds.",
    ),
    Parameter(
        "rate_limit_hz",
        0.0,
        "Answer at most so many images a second; 0: as many as the machine can.",
        0.0,
        1000.0,
        dynamic=True,
    ),
    Parameter(
        "image_timeout_s",
        5.0,
        "Diagnostics complain after so many seconds without an image.",
        0.1,
        3600.0,
        dynamic=True,
    ),
    Parameter("stamps_log", "", "File for the stamps of the answered images, for `vpr_ros localize --only-stamps`."),
)

RECORDER_PARAMETERS = (
    Parameter("output", "", "Folder of the training set; an existing recorded one gets another drive."),
    Parameter("drive", "", "Name of this drive; empty: the time of configure."),
    Parameter("city", "own", "Name of the area; drives of one area share one map frame."),
    Parameter("condition", "", "Light, season, weather in your words, for example night/rain."),
    *SENSOR_PARAMETERS,
    Parameter("require_cloud", True, "Skip images that have no LiDAR cloud."),
    Parameter("spacing_m", 1.0, "Record after so many metres.", 0.0, _LARGE),
    Parameter("heading_deg", 15.0, "Or after turning by so many degrees.", 0.1, 360.0),
    Parameter("jpeg_quality", 90, "Quality of the recorded JPEG images.", 1, 100),
    Parameter("max_width", 640, "Wider images are shrunk to this width in pixels.", 16, 100_000),
    Parameter(
        "image_timeout_s",
        5.0,
        "Diagnostics complain after so many seconds without an image.",
        0.1,
        3600.0,
        dynamic=True,
    ),
)


def problem(values: dict[str, Any]) -> str | None:
    """Why these values do not go together, in one sentence; None when they do."""
    get = values.get
    for name in ("base_frame", "odom_frame", "map_frame"):
        if name in values and not str(values[name]).strip("/ "):
            return f"{name} is empty: name the frame, as in base_link"
    if get("odom_source", "none") in ("auto", "tf") and get("base_frame") == get("odom_frame"):
        return f"base_frame and odom_frame are both '{get('base_frame')}': odometry would be the identity"
    if get("verify") and get("mode") == "map":
        return "verify checks matches, and mode 'map' makes none: use mode 'slam' or 'localize'"
    if get("keep_clouds") and get("mode") == "localize":
        return "keep_clouds writes into the map, and mode 'localize' only reads it: use mode 'map' or 'slam'"
    if "accept_probability" in values and get("min_margin", 0.0) > get("accept_probability"):
        return (
            f"min_margin {get('min_margin'):g} is above accept_probability {get('accept_probability'):g}: a place "
            "cannot lead by more than the probability it needs"
        )
    return None


def declare(node: Any, table: Iterable[Parameter]) -> None:
    """Declares a table on a node and refuses, with the reason, changes that make no sense.

    Raises VprError for a value given at start that has another type or lies outside the range.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    table = tuple(table)
    for p in table:
        descriptor = ParameterDescriptor(
            description=f"{p.description} Takes effect {p.when}.",
            read_only=p.read_only,
            additional_constraints=f"one of: {p.allowed}" if p.choices else "",
        )
        if p.minimum is not None and isinstance(p.default, float):
            high = _LARGE if p.maximum is None else p.maximum
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(p.minimum), to_value=float(high))]
        elif p.minimum is not None:
            high = _LARGE if p.maximum is None else p.maximum
            descriptor.integer_range = [IntegerRange(from_value=int(p.minimum), to_value=int(high))]
        try:
            node.declare_parameter(p.name, p.default, descriptor)
        except (InvalidParameterTypeException, InvalidParameterValueException):
            allowed = f", {p.allowed}" if p.allowed else ""
            raise VprError(
                f"parameter {p.name} was given at start with a value that it cannot take: its type is "
                f"{p.type_name}{allowed}, as in {p.name}:={_yaml_value(p.default)}"
            ) from None

    known = {p.name: p for p in table}

    def check(changes):
        new = values(node, table)
        for change in changes:
            p = known.get(change.name)
            if p is None:
                continue
            if p.choices and change.value not in p.choices:
                return SetParametersResult(
                    successful=False, reason=f"{p.name} must be one of {p.allowed}, not '{change.value}'"
                )
            new[p.name] = change.value
        reason = problem(new)
        return SetParametersResult(successful=reason is None, reason=reason or "")

    node.add_on_set_parameters_callback(check)


def values(node: Any, table: Iterable[Parameter]) -> dict[str, Any]:
    """What a node's parameters are now."""
    return {p.name: node.get_parameter(p.name).value for p in table}


def unusable(values: dict[str, Any], table: Iterable[Parameter]) -> str | None:
    """What is wrong with values that were given at start, before any check ran; None when nothing is."""
    for p in table:
        if p.choices and values[p.name] not in p.choices:
            return f"parameter {p.name} must be one of {p.allowed}, not '{values[p.name]}'"
    return problem(values)


def markdown(table: Iterable[Parameter]) -> str:
    """A table for the documentation."""
    rows = ["| parameter | type | default | allowed | effect | meaning |", "|---|---|---|---|---|---|"]
    for p in table:
        rows.append(
            f"| `{p.name}` | {p.type_name} | `{_yaml_value(p.default)}` | {p.allowed} | {p.when} | {p.description} |"
        )
    return "\n".join(rows) + "\n"


def yaml(table: Iterable[Parameter]) -> str:
    """A parameter file that sets every parameter to its default, for any node name and namespace."""
    lines = ["/**:", "  ros__parameters:"]
    for p in table:
        comment = f"{p.description} ({p.allowed})" if p.allowed else p.description
        lines += textwrap.wrap(comment, 118, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(f"    {p.name}: {_yaml_value(p.default)}")
    return "\n".join(lines) + "\n"


def _yaml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def main(arguments: list[str]) -> int:
    """`python3 -m vpr_ros.nodes.parameters yaml vpr > config/vpr.yaml`; also markdown, and recorder."""
    tables, writers = {"vpr": VPR_PARAMETERS, "recorder": RECORDER_PARAMETERS}, {"yaml": yaml, "markdown": markdown}
    if len(arguments) != 2 or arguments[0] not in writers or arguments[1] not in tables:
        print("usage: python3 -m vpr_ros.nodes.parameters yaml|markdown vpr|recorder", file=sys.stderr)
        return 2
    print(writers[arguments[0]](tables[arguments[1]]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
