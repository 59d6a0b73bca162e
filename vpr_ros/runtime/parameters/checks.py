"""Whether values of parameters go together."""

from collections.abc import Iterable
from typing import Any

from vpr_ros.configuration import DecisionConfig
from vpr_ros.runtime.parameters.parameter import Parameter


def unusable(values: dict[str, Any], table: Iterable[Parameter]) -> str | None:
    """What is wrong with values that were given at start, before any check ran; None when nothing is."""
    for p in table:
        if p.choices and values[p.name] not in p.choices:
            return f"parameter {p.name} must be one of {p.allowed}, not '{values[p.name]}'"
    return problem(values)


def problem(values: dict[str, Any]) -> str | None:
    """Why these values do not go together, in one sentence; None when they do."""
    get = values.get
    for name in ("base_frame", "odom_frame", "map_frame"):
        if name in values and not str(values[name]).strip("/ "):
            return f"{name} is empty: name the frame, as in base_link"
    if get("odom_source", "none") in ("auto", "tf") and get("base_frame") == get("odom_frame"):
        return f"base_frame and odom_frame are both '{get('base_frame')}': odometry would be the identity"
    if get("verify", "none") != "none" and get("mode") == "map":
        return "verify checks matches, and mode 'map' makes none: use mode 'slam' or 'localize'"
    if get("publish_tf") and get("mode") != "localize":
        return f"publish_tf follows a finished map, and mode '{get('mode')}' writes one: use mode 'localize'"
    if get("publish_tf") and get("verify") == "none":
        return "publish_tf uses verified poses only, and verify is none: set it to auto, or set publish_tf false"
    if get("publish_tf") and get("odom_source") == "none":
        return "publish_tf needs odometry, and odom_source is 'none': let TF have it, or set publish_tf false"
    if get("keep_clouds") and get("mode") == "localize":
        return "keep_clouds writes into the map, and mode 'localize' only reads it: use mode 'map' or 'slam'"
    if (
        get("accept_precision")
        and get("accept_probability", DecisionConfig.accept_probability) != DecisionConfig.accept_probability
    ):
        return (
            f"accept_precision {get('accept_precision'):g} and accept_probability {get('accept_probability'):g} "
            f"exclude each other: leave one at its default, 0 or {DecisionConfig.accept_probability:g}"
        )
    if "accept_probability" in values and get("min_margin", 0.0) > get("accept_probability"):
        return (
            f"min_margin {get('min_margin'):g} is above accept_probability {get('accept_probability'):g}: a place "
            "cannot lead by more than the probability it needs"
        )
    return None
