"""From the arguments of a launch file to what is started: parameters, remappings, the bag to play. ROS-free."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vpr_ros.errors import VprError
from vpr_ros.nodes.launching.bag_topics import camera_info_beside
from vpr_ros.nodes.parameters import RECORDER_PARAMETERS, VPR_PARAMETERS

DISCOVERY_S = 2.0  # the player waits so long before its first message: publishers and subscribers find each other
CLOCK_HZ = 100

_ROLES = ("image", "odom", "pose", "points", "camera_info")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_LEVELS = ("debug", "info", "warn", "error", "fatal")
_POSE_SOURCES = {
    "geometry_msgs/msg/PoseStamped": "pose",
    "geometry_msgs/msg/PoseWithCovarianceStamped": "pose_with_covariance",
    "nav_msgs/msg/Odometry": "odometry",
}
_LookIntoBag = Callable[[str, dict[str, str], tuple[str, ...]], dict]


@dataclass
class Plan:
    """What a launch file starts."""

    parameters: dict[str, str | bool] = field(default_factory=dict)  # they win over the parameter files
    remappings: list[tuple[str, str]] = field(default_factory=list)
    params_file: str = ""  # the user's own
    play: list[str] = field(default_factory=list)  # command that plays the bag, empty without one
    qos: dict[str, dict[str, str | int]] = field(default_factory=dict)  # for the player: topic -> profile
    notes: list[str] = field(default_factory=list)  # sentences for the user


def ask_bag(path: str, asked: dict[str, str], needed: tuple[str, ...]) -> dict:
    """The answer of `bag_topics`, from the `python3` of the environment: the one that the nodes run in, too."""
    roles = [f"{'!' if role in needed else ''}{role}={name}" for role, name in asked.items()]
    command = ["python3", "-m", "vpr_ros.nodes.launching.bag_topics", path, *roles]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise VprError((run.stderr.strip().splitlines() or [f"bag {path} could not be looked into"])[-1])
    return json.loads(run.stdout)


def make_plan(arguments: dict[str, str], fixed: dict[str, str], look_into_bag: _LookIntoBag = ask_bag) -> Plan:
    """The plan for the arguments of a launch file as they were typed; one left at '' changes nothing.

    `fixed` are parameters that the launch file itself sets; those that have an argument, too, yield to it and to the
    user's parameter file. Raises VprError, one sentence, for what cannot be launched.
    """
    given = {name: value.strip() for name, value in arguments.items() if value.strip()}
    plan = Plan(parameters=dict(fixed))
    told: dict[str, Any] = {}
    if "params_file" in given:
        plan.params_file = str(_existing("params_file", given))
        told = _parameters_of(plan.params_file)
        for name in set(fixed) & set(told) & set(arguments):
            del plan.parameters[name]
    for name in ("checkpoint", "mode", "device", "pose_source", "drive", "city", "condition"):
        if name in given:
            plan.parameters[name] = given[name]
    for name in ("compressed", "verify", "keep_clouds", "use_sim_time"):
        if name in given:
            plan.parameters[name] = truth(name, given[name])
    for name, parameter in (("map", "map_path"), ("output", "output")):
        if name in given:
            plan.parameters[parameter] = _target(name, given[name], plan.parameters.get("mode") == "localize")
        elif name in arguments and not told.get(parameter):
            raise VprError(f"say {name}:=PATH")
    asked = {role: given[f"{role}_topic"] for role in _ROLES if f"{role}_topic" in given}
    if "bag" in given:
        _from_bag(plan, arguments, given, asked, told, look_into_bag)
    else:
        _live(plan, asked, told)
    for role in ("odom", "pose"):
        if asked.get(role) == "none":
            plan.parameters[f"{role}_source"] = "none"
    return plan


def truth(name: str, text: str) -> bool:
    """A yes or no as people type it."""
    if text.strip().lower() in _TRUE + _FALSE:
        return text.strip().lower() in _TRUE
    raise VprError(f"{name}:={text} is neither true nor false")


def log_arguments(level: str, namespace: str, node: str) -> list[str]:
    """ROS arguments that set the level of one node's logger; the middleware's own loggers stay as they are."""
    if not level:
        return []
    if level.lower() not in _LEVELS:
        raise VprError(f"log_level:={level} is not known; choose one of {', '.join(_LEVELS)}")
    logger = ".".join([*(part for part in namespace.split("/") if part), node])
    return ["--log-level", f"{logger}:={level.lower()}"]


def _from_bag(
    plan: Plan,
    arguments: dict[str, str],
    given: dict[str, str],
    asked: dict[str, str],
    told: dict[str, Any],
    look_into_bag: _LookIntoBag,
) -> None:
    bag, rate = _existing("bag", given), _rate(given.get("rate", "1.0"))
    roles = {role: asked.get(role, "") for role in _ROLES if f"{role}_topic" in arguments}
    wanted = [plan.parameters.get(name, told.get(name)) for name in ("verify", "keep_clouds")]
    clouds = "output" in arguments or any(wanted)
    info = look_into_bag(str(bag), roles, ("image", "odom", "pose", *(["points"] if clouds else [])))
    found = {role: topic for role, topic in info["topics"].items() if topic}
    name, msgtype = found["image"]
    plan.parameters.update(use_sim_time=True, compressed=msgtype.endswith("/CompressedImage"))
    plan.remappings += [("image", name), ("image/compressed", name)]
    plan.remappings += [(role, topic[0]) for role, topic in found.items() if role != "image"]
    if "pose" in found and "pose_source" not in plan.parameters and ("pose" in asked or "pose_source" not in told):
        plan.parameters["pose_source"] = _POSE_SOURCES[found["pose"][1]]
    # Best effort loses most images that are larger than the sockets' buffers, and a bag is there to be heard in full.
    plan.qos = {topic[0]: _qos(20) for topic in found.values()}
    plan.qos |= {"/tf": _qos(100), "/tf_static": _qos(100, durability="transient_local")}
    plan.parameters.update(dict.fromkeys(("image_reliability", "points_reliability", "odom_reliability"), "reliable"))
    plan.play = [
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
        plan.play += ["--storage", info["storage"]]
    if info["clock"]:  # two publishers of time would make it jump back and forth
        plan.play += ["--remap", "/clock:=/clock_of_the_bag"]
    heard = ", ".join(f"{role} {topic[0]}" for role, topic in found.items())
    plan.notes.append(f"bag {given['bag']}: {heard}")


def _live(plan: Plan, asked: dict[str, str], told: dict[str, Any]) -> None:
    topics = {role: name for role, name in asked.items() if name != "none"}
    if "image" in topics:
        name = topics.pop("image")
        plan.remappings += [("image", name), ("image/compressed", name)]
        if name.endswith("/compressed"):
            plan.parameters.setdefault("compressed", True)
        if "camera_info" not in asked:
            topics["camera_info"] = camera_info_beside(name)
    plan.remappings += list(topics.items())
    if "pose" in topics and "pose_source" not in plan.parameters and "pose_source" not in told:
        raise VprError(
            f"pose_topic:={topics['pose']} needs its type, too: add pose_source:=pose, "
            "pose_source:=pose_with_covariance or pose_source:=odometry"
        )


def _qos(depth: int, durability: str = "volatile") -> dict[str, str | int]:
    return {"history": "keep_last", "depth": depth, "reliability": "reliable", "durability": durability}


def _existing(name: str, given: dict[str, str]) -> Path:
    path = Path(given[name]).expanduser()
    if not path.exists():
        raise VprError(f"{name}:={given[name]} does not exist; check the path")
    return path


def _target(name: str, text: str, must_exist: bool) -> str:
    path = Path(text).expanduser().absolute()
    if must_exist and not path.exists():
        raise VprError(f"{name}:={text} does not exist; make a map with map.launch.py, or check the path")
    if not path.parent.is_dir():
        raise VprError(f"the folder of {name}:={text} does not exist; make it first")
    return str(path)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.0 < rate < 1e3:
        raise VprError(f"rate:={text} is not a speed; 1.0 plays the bag as fast as it was recorded")
    return rate


def _parameters_of(path: str) -> dict[str, Any]:
    """What a file sets that is not the default anyway, as all is in a copy of a shipped file; whatever the nodes."""
    try:
        waiting = [yaml.safe_load(Path(path).read_text(encoding="utf-8"))]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise VprError(f"params_file {path} cannot be read: {' '.join(str(error).split())}") from None
    found: dict[str, Any] = {}
    while waiting:
        section = waiting.pop()
        if isinstance(section, dict):
            found.update(section.get("ros__parameters") or {})
            waiting += [value for key, value in section.items() if key != "ros__parameters"]
    if not found:
        raise VprError(
            f"params_file {path} sets nothing: it needs a node's name or '/**:', below it "
            "'ros__parameters:', and below that the parameters"
        )
    defaults = {p.name: p.default for p in (*VPR_PARAMETERS, *RECORDER_PARAMETERS)}
    return {name: value for name, value in found.items() if value != defaults.get(name)}
