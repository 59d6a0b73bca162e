"""Which topics of a bag a node subscribes, as JSON: a program, BAG ROLE=NAME ... -> JSON.

A program of its own, because `ros2 launch` may run in an interpreter that does not see the libraries that read bags.
ROS-free.
"""

import json
import sys
from pathlib import Path

from vpr_ros.errors import VprError

_STORAGES = {".mcap": "mcap", ".db3": "sqlite3"}


def bag_topics(path: str, asked: dict[str, str], needed: tuple[str, ...] = ("image",)) -> dict:
    """What `ros2 bag play` and the node need to know of a bag.

    `asked` has the roles to fill (image, odom, pose, points, camera_info) with a topic's name, "none" or "" (found by
    type). Answers {"play": path to play, "storage": plugin or "", "clock": whether it holds /clock, "topics": role ->
    [name, type] or None}. A role in `needed` that several topics could play is refused, another one stays empty.
    Raises VprError for a bag that cannot be played and for names that do not fit.
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
        play, storage = _playable(Path(path))
        topics: dict[str, list[str] | None] = {}
        for role, name in asked.items():
            try:
                found = choose_topic(bag, role, name or None)
            except VprError as error:
                if name or role in needed:
                    raise VprError(_as_arguments(str(error))) from None
                found = None
            info = None if found is None else bag.topic(found)
            # A position without heading serves the offline mapper, which may look at a whole drive.
            topics[role] = None if info is None or info.msgtype == NAVSAT else [info.name, info.msgtype]
        clock = any(t.name == "/clock" for t in bag.topics)
    image = topics.get("image")
    if image and "camera_info" in asked and not asked["camera_info"]:
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
    for role in ("image", "points", "odom", "pose", "camera-info"):
        argument = f"{role.replace('-', '_')}_topic"
        for value in ("NAME", "none"):
            sentence = sentence.replace(f"--{role}-topic {value}", f"{argument}:={value}")
        sentence = sentence.replace(f"--{role}-topic", argument)
    return sentence


def main() -> int:
    """The program: BAG, then ROLE=NAME for each role, with a '!' before roles that must not stay ambiguous."""
    path, *roles = sys.argv[1:]
    asked = dict(role.lstrip("!").split("=", 1) for role in roles)
    needed = tuple(role.lstrip("!").split("=", 1)[0] for role in roles if role.startswith("!"))
    try:
        print(json.dumps(bag_topics(path, asked, needed)))
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
