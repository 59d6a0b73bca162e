"""From the arguments of a launch file to what is started: parameters, remappings, the bag to play. ROS-free."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml

from vpr_ros.errors import VprError
from vpr_ros.nodes.launching.bag_topics import BagTopics, camera_info_beside
from vpr_ros.nodes.launching.values import existing_path, one_of, playing_rate, target_path, truth_value
from vpr_ros.runtime.settings import Verify

DISCOVERY_S = 2.0  # before the player's first message, so that publishers and subscribers find each other
CLOCK_HZ = 100

_ROLES = ("image", "odom", "pose", "points", "depth", "camera_info")
_POSE_SOURCES = {
    "geometry_msgs/msg/PoseStamped": "pose",
    "geometry_msgs/msg/PoseWithCovarianceStamped": "pose_with_covariance",
    "nav_msgs/msg/Odometry": "odometry",
}
_ReadTopics = Callable[[str, dict[str, str], tuple[str, ...]], BagTopics]


@dataclass
class LaunchSettings:
    """What a launch file starts."""

    parameters: dict[str, str | bool] = field(default_factory=dict)  # they win over the parameter files
    remappings: list[tuple[str, str]] = field(default_factory=list)
    params_file: str = ""  # the user's own
    play: list[str] = field(default_factory=list)  # command that plays the bag, empty without one
    qos: dict[str, dict[str, str | int]] = field(default_factory=dict)  # for the player: topic -> profile
    notes: list[str] = field(default_factory=list)  # sentences for the user


def topics_of_bag(path: str, names: dict[str, str], needed: tuple[str, ...]) -> BagTopics:
    """The result of `bag_topics`, run by the `python3` of the environment, which is the one that runs the nodes."""
    roles = [f"{'!' if role in needed else ''}{role}={name}" for role, name in names.items()]
    command = ["python3", "-m", "vpr_ros.nodes.launching.bag_topics", path, *roles]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise VprError((run.stderr.strip().splitlines() or [f"bag {path} could not be looked into"])[-1])
    return json.loads(run.stdout)


def launch_settings(
    arguments: dict[str, str], fixed: dict[str, str], config: Path, read_topics: _ReadTopics = topics_of_bag
) -> LaunchSettings:
    """The settings for the arguments of a launch file as they were typed; one left at '' changes nothing.

    `fixed` are parameters that the launch file itself sets; those that have an argument, too, yield to it and to the
    user's parameter file. `config` is the folder of the shipped parameter files. Raises VprError, one sentence, for
    what cannot be launched.
    """
    given = {name: value.strip() for name, value in arguments.items() if value.strip()}
    settings = LaunchSettings(parameters=dict(fixed))
    user_parameters: dict[str, Any] = {}
    if "params_file" in given:
        settings.params_file = str(existing_path("params_file", given["params_file"]))
        user_parameters = _changed_parameters(settings.params_file, config)
        for name in set(fixed) & set(user_parameters) & set(arguments):
            del settings.parameters[name]
    for name in (
        "checkpoint",
        "mode",
        "device",
        "pose_source",
        "rotate",
        "drive",
        "city",
        "condition",
        "local_features",
    ):
        if name in given:
            settings.parameters[name] = given[name]
    if "verify" in given:
        settings.parameters["verify"] = one_of("verify", given["verify"], get_args(Verify))
    for name in ("compressed", "publish_tf", "keep_clouds", "use_sim_time"):
        if name in given:
            settings.parameters[name] = truth_value(name, given[name])
    for name, parameter in (("map", "map_path"), ("output", "output")):
        if name in given:
            settings.parameters[parameter] = target_path(
                name, given[name], settings.parameters.get("mode") == "localize"
            )
        elif name in arguments and not user_parameters.get(parameter):
            raise VprError(f"say {name}:=PATH")
    names = {role: given[f"{role}_topic"] for role in _ROLES if f"{role}_topic" in given}
    if "bag" in given:
        _from_bag(settings, arguments, given, names, user_parameters, read_topics)
    else:
        _live(settings, names, user_parameters)
    for role in ("odom", "pose"):
        if names.get(role) == "none":
            settings.parameters[f"{role}_source"] = "none"
    return settings


def _from_bag(
    settings: LaunchSettings,
    arguments: dict[str, str],
    given: dict[str, str],
    names: dict[str, str],
    user_parameters: dict[str, Any],
    read_topics: _ReadTopics,
) -> None:
    bag, rate = existing_path("bag", given["bag"]), playing_rate(given.get("rate", "1.0"))
    roles = {role: names.get(role, "") for role in _ROLES if f"{role}_topic" in arguments}
    verify, keep = (settings.parameters.get(n, user_parameters.get(n)) for n in ("verify", "keep_clouds"))
    clouds = "output" in arguments or bool(keep) or verify in ("lidar", "auto")
    info = read_topics(str(bag), roles, ("image", "odom", "pose", *(["points"] if clouds else [])))
    found = {role: topic for role, topic in info["topics"].items() if topic}
    name, msgtype = found["image"]
    settings.parameters.update(use_sim_time=True, compressed=msgtype.endswith("/CompressedImage"))
    settings.remappings += [("image", name), ("image/compressed", name)]
    settings.remappings += [(role, topic[0]) for role, topic in found.items() if role != "image"]
    if (
        "pose" in found
        and "pose_source" not in settings.parameters
        and ("pose" in names or "pose_source" not in user_parameters)
    ):
        settings.parameters["pose_source"] = _POSE_SOURCES[found["pose"][1]]
    # Best effort loses most images larger than the sockets' buffers, and all of a bag is to be received.
    settings.qos = {topic[0]: _qos(20) for topic in found.values()}
    settings.qos |= {"/tf": _qos(100), "/tf_static": _qos(100, durability="transient_local")}
    settings.parameters.update(
        dict.fromkeys(("image_reliability", "points_reliability", "odom_reliability"), "reliable")
    )
    settings.play = [
        "ros2",
        "bag",
        "play",
        info["play"],
        "--clock",
        str(CLOCK_HZ),
        "--rate",
        f"{rate:g}",
        "--delay",
        f"{DISCOVERY_S:g}",
        "--disable-keyboard-controls",
    ]
    if info["storage"]:
        settings.play += ["--storage", info["storage"]]
    if info["clock"]:  # two publishers of time would make it jump back and forth
        settings.play += ["--remap", "/clock:=/clock_of_the_bag"]
    topics = ", ".join(f"{role} {topic[0]}" for role, topic in found.items())
    settings.notes.append(f"bag {given['bag']}: {topics}")


def _live(settings: LaunchSettings, names: dict[str, str], user_parameters: dict[str, Any]) -> None:
    topics = {role: name for role, name in names.items() if name != "none"}
    if "image" in topics:
        name = topics.pop("image")
        settings.remappings += [("image", name), ("image/compressed", name)]
        if name.endswith("/compressed"):
            settings.parameters.setdefault("compressed", True)
        if "camera_info" not in names:
            topics["camera_info"] = camera_info_beside(name)
    settings.remappings += list(topics.items())
    if "pose" in topics and "pose_source" not in settings.parameters and "pose_source" not in user_parameters:
        raise VprError(
            f"pose_topic:={topics['pose']} needs its type, too: add pose_source:=pose, "
            "pose_source:=pose_with_covariance or pose_source:=odometry"
        )


def _qos(depth: int, durability: str = "volatile") -> dict[str, str | int]:
    return {"history": "keep_last", "depth": depth, "reliability": "reliable", "durability": durability}


def _changed_parameters(path: str, config: Path) -> dict[str, Any]:
    """What a file sets to another value than the shipped files: a copy of one of them changes nothing."""
    try:
        found = parameters_in(Path(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise VprError(f"params_file {path} cannot be read: {' '.join(str(error).split())}") from None
    if not found:
        raise VprError(
            f"params_file {path} sets nothing: it needs a node's name or '/**:', below it "
            "'ros__parameters:', and below that the parameters"
        )
    shipped = {name: value for file in sorted(config.glob("*.yaml")) for name, value in parameters_in(file).items()}
    return {name: value for name, value in found.items() if value != shipped.get(name)}


def parameters_in(path: Path) -> dict[str, Any]:
    """The parameters of all nodes in a parameter file."""
    waiting = [yaml.safe_load(path.read_text(encoding="utf-8"))]
    found: dict[str, Any] = {}
    while waiting:
        section = waiting.pop()
        if isinstance(section, dict):
            found.update(section.get("ros__parameters") or {})
            waiting += [value for key, value in section.items() if key != "ros__parameters"]
    return found
