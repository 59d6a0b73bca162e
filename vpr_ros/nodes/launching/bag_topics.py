"""Which topics of a bag a node subscribes, as JSON: a program, BAG ROLE=NAME ... -> JSON.

A program of its own, because `ros2 launch` may run in an interpreter that does not see the libraries that read bags.
ROS-free.
"""

import json
import sys
from pathlib import Path
from typing import TypedDict

from vpr_ros.errors import VprError

_STORAGES = {".mcap": "mcap", ".db3": "sqlite3"}


class BagTopics(TypedDict):
    """What `ros2 bag play` and the node need to know of a bag."""

    play: str  # path to play
    storage: str  # plugin, or ""
    clock: bool  # whether the bag holds /clock
    topics: dict[str, list[str] | None]  # role -> [name, type]


def bag_topics(path: str, names: dict[str, str], needed: tuple[str, ...] = ("image",)) -> BagTopics:
    """The topics of a bag for the roles in `names` (image, odom, pose, points, depth, camera_info).

    `names` gives each role a topic's name, "none", or "" for the topic that is found by type. Where several topics fit
    a role, one in `needed` is refused and any other stays empty. Raises VprError for a bag that cannot be played and
    for names that do not fit.
    """
    from vpr_ros.sensors import Bag, choose_topic
    from vpr_ros.sensors.bags.topics import NAVSAT

    if path.endswith(".bag"):
        folder = path.removesuffix(".bag")
        raise VprError(
            f"{path} is a ROS 1 bag, and ROS 2 cannot play it: convert it with "
            f"'rosbags-convert --src {path} --dst {folder} --dst-version 8' and pass bag:={folder}"
        )
    with Bag(path) as bag:
        if bag.pictures:
            raise VprError(f"{path} holds pictures, and ROS 2 plays bags: make one with 'vpr_ros bag {path} -o BAG'")
        if not bag.ros2:
            raise VprError(
                f"{path} holds messages of ROS 1, and ROS 2 cannot play them: convert the .bag that it was made "
                "of with 'rosbags-convert --src X.bag --dst X --dst-version 8'"
            )
        play, storage = _playable(Path(path))
        topics: dict[str, list[str] | None] = {}
        for role, name in names.items():
            try:
                found = choose_topic(bag, role, name or None)
            except VprError as error:
                if name or role in needed:
                    raise VprError(_as_arguments(str(error))) from None
                found = None
            info = None if found is None else bag.topic(found)
            # A position without heading is of use to the offline mapper only, which reads the whole drive.
            topics[role] = None if info is None or info.msgtype == NAVSAT else [info.name, info.msgtype]
        clock = any(t.name == "/clock" for t in bag.topics)
    image = topics.get("image")
    if image and "camera_info" in names and not names["camera_info"]:
        beside = camera_info_beside(image[0])
        if any(t.name == beside for t in bag.topics):
            topics["camera_info"] = [beside, "sensor_msgs/msg/CameraInfo"]
    return {"play": str(play), "storage": storage, "clock": clock, "topics": topics}


def camera_info_beside(image_topic: str) -> str:
    """Where cameras publish their calibration: /front/image_raw and its /compressed twin have /front/camera_info."""
    base = image_topic.removesuffix("/compressed")
    return f"{base.rpartition('/')[0]}/camera_info" if "/" in base else "camera_info"


def _playable(path: Path) -> tuple[Path, str]:
    if path.is_file():
        return path, _STORAGES.get(path.suffix, "")
    if (path / "metadata.yaml").exists():
        return path, ""
    files = sorted(f for f in path.iterdir() if f.suffix in _STORAGES)
    if len(files) != 1:
        raise VprError(f"bag {path} has no metadata.yaml: run 'ros2 bag reindex {path}' first")
    return files[0], _STORAGES[files[0].suffix]


def _as_arguments(sentence: str) -> str:
    """The command line's options in a sentence, as arguments of a launch file."""
    for role in ("image", "points", "depth", "odom", "pose", "camera-info"):
        argument = f"{role.replace('-', '_')}_topic"
        for value in ("NAME", "none"):
            sentence = sentence.replace(f"--{role}-topic {value}", f"{argument}:={value}")
        sentence = sentence.replace(f"--{role}-topic", argument)
    return sentence


def main() -> int:
    """The program: BAG, then ROLE=NAME for each role, with a '!' before roles that must not stay ambiguous."""
    path, *roles = sys.argv[1:]
    names = dict(role.lstrip("!").split("=", 1) for role in roles)
    needed = tuple(role.lstrip("!").split("=", 1)[0] for role in roles if role.startswith("!"))
    try:
        print(json.dumps(bag_topics(path, names, needed)))
    except VprError as error:
        print(error, file=sys.stderr)
        return 2
    except ImportError as error:
        print(
            f"{sys.executable} lacks the library '{error.name}': activate the Python environment that vpr_ros was "
            "installed into",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
