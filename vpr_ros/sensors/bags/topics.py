"""Which topic of a bag plays which role: by name when given, else by type when there is one candidate."""

import re
from dataclasses import replace
from typing import Literal

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.config import DriveTopics
from vpr_ros.sensors.bags.reader import Bag, TopicInfo, describe_topics
from vpr_ros.sensors.images import VIDEO_CURE

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
POINTS, ODOMETRY = "sensor_msgs/msg/PointCloud2", "nav_msgs/msg/Odometry"
POSE, POSE_COVARIANCE = "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped"
NAVSAT, CAMERA_INFO = "sensor_msgs/msg/NavSatFix", "sensor_msgs/msg/CameraInfo"

ROLE_TYPES: dict[str, tuple[str, ...]] = {
    "image": (IMAGE, COMPRESSED),
    "points": (POINTS,),
    "depth": (IMAGE,),
    "odom": (ODOMETRY,),
    "pose": (POSE, POSE_COVARIANCE, NAVSAT),
    "camera_info": (CAMERA_INFO,),
}
# A pose may also come from an Odometry topic (a localisation filter in the map frame), but only by name.
_NAMED_TYPES = {"pose": (ODOMETRY,)}

# Messages that carry a video stream: Foxglove's, and the ffmpeg plugin's of image_transport.
_VIDEO = ("CompressedVideo", "FFMPEGPacket")

_TRUTH = ("ground_truth", "groundtruth", "ground-truth", "/gt/", "/gt_")
_TRANSPORTS = ("/compressedDepth", "/theora", "/zstd")  # of image_transport, beside raw and compressed
_DEPTH_NAMES, _DEPTH_ENCODINGS = {"depth", "disparity"}, ("16UC1", "32FC1")
_ALIGNED_NAMES = ("aligned_depth", "depth_registered")  # of drivers: depth in the pixels of the colour camera
_SAME_SHARE = 0.9  # of the raw pictures: a twin that has as many is as good
_COMMANDS = ("initialpose", "initial_pose", "goal", "goal_pose", "move_base_simple/goal", "clicked_pose", "set_pose")


def is_ground_truth(name: str) -> bool:
    """Whether a topic's name says ground truth; such a topic is read only when it is asked for by name."""
    lowered = name.lower() + "/"
    return any(part in lowered for part in _TRUTH)


def sort_out(bag: Bag, role: str) -> tuple[list[TopicInfo], dict[str, str]]:
    """Topics that could play a role without being named, and why each of the others of its types is left out.

    Ground truth, goals and initial poses never play one, nor does what is empty or not read. Of a raw image and its own
    `/compressed` twin the twin counts, with fewer bytes to read, unless it lacks pictures; depth counts only alone.
    """
    found, left = [], dict[str, str]()
    for topic in (t for t in bag.topics if t.msgtype in ROLE_TYPES[role]):
        reason = _unfit(topic, role)
        if reason:
            left.setdefault(topic.name, reason)
        else:
            found.append(topic)
    if role == "image":
        found = _without(found, _twins(found), left)
        depth = {t.name: "it holds distances, not pictures" for t in found if len(found) > 1 and _is_depth(bag, t)}
        if len(depth) < len(found):
            found = _without(found, depth, left)
    if role == "pose" and (said := [t.name for t in found if t.msgtype != NAVSAT]):
        less = {t.name: f"a position has no heading, {said[0]} says more" for t in found if t.msgtype == NAVSAT}
        found = _without(found, less, left)
    return found, left


def candidates(bag: Bag, role: str) -> list[TopicInfo]:
    """Topics with messages that could play a role without being named, as `sort_out` finds them."""
    return sort_out(bag, role)[0]


def _unfit(topic: TopicInfo, role: str) -> str:
    """Why a topic cannot play a role unasked, whatever else the bag holds; empty where it can."""
    if not topic.count:
        return "it is empty"
    if not topic.readable:
        return f"its messages are {topic.encoding}, which is not read"
    if is_ground_truth(topic.name):
        return "its name says ground truth"
    if role == "depth" and not any(part in topic.name for part in _ALIGNED_NAMES):
        return "its name does not say that it is depth aligned with the pictures"
    if role == "image" and topic.name.endswith(_TRANSPORTS):
        return "its transport is not read"
    if role == "pose" and topic.name.endswith(tuple(f"/{c}" for c in _COMMANDS)):
        return "it commands a pose and measures none"
    return ""


def _twins(found: list[TopicInfo]) -> dict[str, str]:
    """Of each raw image and its compressed twin the one that is not needed, and why."""
    counts, spare = {t.name: t.count for t in found}, dict[str, str]()
    for name, count in counts.items():
        twin = f"{name}/compressed"
        if twin not in counts:
            continue
        if counts[twin] >= _SAME_SHARE * count:
            spare[name] = f"{twin} has the same pictures in fewer bytes"
        else:
            spare[twin] = f"it has only {counts[twin]} of the {count} pictures on {name}"
    return spare


def _is_depth(bag: Bag, topic: TopicInfo) -> bool:
    """Whether a topic's name or its first message says that its pixels are distances."""
    if _DEPTH_NAMES & set(re.split(r"[/_]", topic.name.lower())):
        return True
    if topic.msgtype != IMAGE:
        return False
    first = next(bag.messages([topic.name], lambda *_: None), None)
    return first is not None and str(getattr(first[2], "encoding", "")).upper() in _DEPTH_ENCODINGS


def _without(found: list[TopicInfo], spare: dict[str, str], left: dict[str, str]) -> list[TopicInfo]:
    left.update(spare)
    return [t for t in found if t.name not in spare]


def choose_topic(bag: Bag, role: str, name: str | None = None) -> str | None:
    """Name of the topic that plays `role`, or None when the bag has none ("image" is the one role that must exist).

    Raises VprError when the name is not there or has the wrong type, when several topics could play the role, and
    when there is no image topic; each sentence lists what there is and the option to pass.
    """
    option = f"--{role.replace('_', '-')}-topic"
    if name == "none" and role != "image":
        return None
    if name is not None:
        info = bag.topic(name)
        allowed = ROLE_TYPES[role] + _NAMED_TYPES.get(role, ())
        if info.msgtype not in allowed:
            raise VprError(f"topic {name} has type {info.msgtype}, but {option} needs {' or '.join(allowed)}")
        if not info.readable:
            raise VprError(
                f"the messages on {name} are encoded as {info.encoding}, which is not read; record them as ROS messages"
            )
        return name
    found = candidates(bag, role)
    if len(found) == 1:
        return found[0].name
    if found:
        leave_out = "" if role == "image" else f" or '{option} none' to do without"
        raise VprError(
            f"bag {bag.path} has {len(found)} topics that could be the {role}: {describe_topics(found)}; "
            f"pass {option} NAME{leave_out}"
        )
    if role == "image":
        video = [t.name for t in bag.topics if t.msgtype.rpartition("/")[2].rpartition(".")[2] in _VIDEO]
        cure = f"; {', '.join(video)} is video: {VIDEO_CURE}" if video else ""
        raise VprError(
            f"bag {bag.path} has no camera images (sensor_msgs Image or CompressedImage); it holds "
            f"{describe_topics(bag.topics)}{cure}"
        )
    return None


def camera_info_topic(bag: Bag, image_topic: str) -> str | None:
    """The CameraInfo of a camera: the topic beside its images', else the only one; None where there is none."""
    found = [t.name for t in candidates(bag, "camera_info")]
    namespaces = [image_topic.rsplit("/", n)[0] for n in (1, 2)]
    beside = [name for name in found if name.rsplit("/", 1)[0] in namespaces]
    return beside[0] if beside else found[0] if len(found) == 1 else None


def resolve_topics(bag: Bag, asked: DriveTopics, load_clouds: bool, load_depth: bool = False) -> DriveTopics:
    """The names in use for every role, None where the bag has no such topic; VprError as `choose_topic`.

    For depth alone, clouds and depth images are welcome and not needed: of several topics that fit, none is taken.
    """
    return replace(
        asked,
        image=choose_topic(bag, "image", asked.image),
        odom=choose_topic(bag, "odom", asked.odom),
        pose=choose_topic(bag, "pose", asked.pose),
        points=choose_topic(bag, "points", asked.points) if load_clouds else _welcome(bag, "points", asked, load_depth),
        depth=_welcome(bag, "depth", asked, load_depth),
    )


def _welcome(bag: Bag, role: Literal["points", "depth"], asked: DriveTopics, wanted: bool) -> str | None:
    name = getattr(asked, role)
    if not wanted or (name is None and len(candidates(bag, role)) != 1):
        return None
    return choose_topic(bag, role, name)
