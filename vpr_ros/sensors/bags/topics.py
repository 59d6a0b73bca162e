"""Which topic of a bag plays which role: by name when given, else by type when there is one candidate."""

from dataclasses import replace

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.config import DriveTopics
from vpr_ros.sensors.bags.reader import Bag, TopicInfo, describe_topics

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
POINTS, ODOMETRY = "sensor_msgs/msg/PointCloud2", "nav_msgs/msg/Odometry"
POSE, POSE_COVARIANCE = "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped"
NAVSAT, CAMERA_INFO = "sensor_msgs/msg/NavSatFix", "sensor_msgs/msg/CameraInfo"

ROLE_TYPES: dict[str, tuple[str, ...]] = {
    "image": (IMAGE, COMPRESSED),
    "points": (POINTS,),
    "odom": (ODOMETRY,),
    "pose": (POSE, POSE_COVARIANCE, NAVSAT),
    "camera_info": (CAMERA_INFO,),
}
# A pose may also come from an Odometry topic (a localisation filter in the map frame), but only by name.
_NAMED_TYPES = {"pose": (ODOMETRY,)}

_TRUTH = ("ground_truth", "groundtruth", "ground-truth", "/gt/", "/gt_")
_COMMANDS = ("initialpose", "initial_pose", "goal", "goal_pose", "move_base_simple/goal", "clicked_pose", "set_pose")


def is_ground_truth(name: str) -> bool:
    """Whether a topic's name says ground truth; such a topic is read only when it is asked for by name."""
    lowered = name.lower() + "/"
    return any(part in lowered for part in _TRUTH)


def candidates(bag: Bag, role: str) -> list[TopicInfo]:
    """Topics with messages that could play a role without being named.

    Ground truth, goals and initial poses are never candidates, nor is compressedDepth. Of a raw image and its
    own `/compressed` twin only the twin counts: same pictures, fewer bytes to read.
    """
    readable = [t for t in bag.topics if t.readable and t.count]
    found = [t for t in readable if t.msgtype in ROLE_TYPES[role] and not is_ground_truth(t.name)]
    if role == "image":
        twins = {t.name for t in found if t.msgtype == COMPRESSED}
        found = [t for t in found if not t.name.endswith("/compressedDepth") and f"{t.name}/compressed" not in twins]
    if role == "pose":
        found = [t for t in found if not t.name.endswith(tuple(f"/{c}" for c in _COMMANDS))]
        # A pose in the map frame says more than a GNSS position, which has no heading.
        found = [t for t in found if t.msgtype != NAVSAT] or found
    return found


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
        raise VprError(
            f"bag {bag.path} has no camera images (sensor_msgs Image or CompressedImage); it holds "
            f"{describe_topics(bag.topics)}"
        )
    return None


def resolve_topics(bag: Bag, asked: DriveTopics, load_clouds: bool) -> DriveTopics:
    """The names in use for every role, None where the bag has no such topic; VprError as `choose_topic`."""
    return replace(
        asked,
        image=choose_topic(bag, "image", asked.image),
        odom=choose_topic(bag, "odom", asked.odom),
        pose=choose_topic(bag, "pose", asked.pose),
        points=choose_topic(bag, "points", asked.points) if load_clouds else None,
    )
