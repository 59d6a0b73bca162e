"""What the core answers, as standard ROS messages.

Poses are 4x4 arrays T_map_base in metres; covariances are (6, 6), row-major in the message, ordered x y z rotX rotY
rotZ. Stamps are integers in nanoseconds and stay exact. Arrays are assigned as numpy arrays or `array.array`: rclpy
checks a list element by element.
"""

from array import array

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseStamped, PoseWithCovariance, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Float64MultiArray, Header, MultiArrayDimension, MultiArrayLayout
from vision_msgs.msg import Detection3D, ObjectHypothesisWithPose, VisionInfo

from vpr_ros.geometry import matrix_to_quaternion
from vpr_ros.place_map import Keyframes
from vpr_ros.recognition.types import Hypothesis, Recognition
from vpr_ros.runtime.loop_stamps import seconds_of

UNKNOWN_VARIANCE = 1e6  # m^2 and rad^2: "unknown", in a message whose fields cannot be left out
INT32_MAX = 2**31 - 1


def time_of(stamp_ns: int) -> Time:
    """The stamp as a message, exact to the nanosecond."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def header_of(stamp_ns: int, frame_id: str) -> Header:
    """A header with an exact stamp."""
    return Header(stamp=time_of(stamp_ns), frame_id=frame_id)


def class_id(map_id: str, keyframe_id: int) -> str:
    """Name of a keyframe in the string fields of messages: `<map_id>/<keyframe id>`."""
    return f"{map_id}/{keyframe_id}"


def pose_of(T: np.ndarray) -> Pose:
    """A finite 4x4 pose as a message."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = T[:3, 3].tolist()
    q = pose.orientation
    q.x, q.y, q.z, q.w = matrix_to_quaternion(T[:3, :3]).tolist()
    return pose


def pose_with_covariance(T: np.ndarray | None, covariance: np.ndarray | None) -> PoseWithCovariance:
    """The pose with its covariance (6, 6). A pose that is None becomes the origin, and unknown in every direction."""
    message = PoseWithCovariance()
    if T is not None:
        message.pose = pose_of(T)
    if T is None or covariance is None:
        covariance = np.diag(np.full(6, UNKNOWN_VARIANCE))
    message.covariance = np.ascontiguousarray(covariance, dtype=np.float64).reshape(36)
    return message


def stamped_pose(
    T: np.ndarray | None, covariance: np.ndarray | None, stamp_ns: int, frame_id: str
) -> PoseWithCovarianceStamped:
    """The pose of something at `stamp_ns`, seen in the frame `frame_id`."""
    return PoseWithCovarianceStamped(header=header_of(stamp_ns, frame_id), pose=pose_with_covariance(T, covariance))


def detection(
    recognition: Recognition, *, map_id: str, frame_id: str, place_radius_m: float, covariance: np.ndarray
) -> Detection3D:
    """All distinct places of one answer, most probable first; rejected and unknown answers too.

    The scores' missing part of 1 is the probability that the robot is at none of them. `covariance` (6, 6) is how far
    from a keyframe the robot may be if its place is the right one. `id` names the accepted place and is empty
    otherwise; `bbox` is the best place, a cube of twice the radius, and has no size where that place has no pose.
    """
    message = Detection3D(header=header_of(recognition.stamp_ns, frame_id))
    message.results = [_result(h, map_id, covariance) for h in recognition.hypotheses]
    if recognition.match is not None:
        message.id = class_id(map_id, recognition.match.keyframe_id)
    best = recognition.best
    if best is not None and best.T_map_base is not None:
        message.bbox.center = pose_of(best.T_map_base)
        size = message.bbox.size
        size.x = size.y = size.z = 2.0 * float(place_radius_m)
    return message


def _result(hypothesis: Hypothesis, map_id: str, covariance: np.ndarray) -> ObjectHypothesisWithPose:
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = class_id(map_id, hypothesis.keyframe_id)
    result.hypothesis.score = float(hypothesis.probability)
    result.pose = pose_with_covariance(hypothesis.T_map_base, covariance)
    return result


def loop_candidate(query_ns: int, keyframe_ns: int) -> Float64MultiArray:
    """`[t_query, t_keyframe]` in seconds, as the LIO-SAM family takes loops from outside.

    A float64 second is up to 0.12 us off the stamp (see `loop_stamps`): join within 1 us, not by equality. The label of
    the one dimension names the two; the message has no header.
    """
    dimension = MultiArrayDimension(label="t_query,t_keyframe", size=2, stride=2)
    layout = MultiArrayLayout(dim=[dimension], data_offset=0)
    return Float64MultiArray(layout=layout, data=array("d", (seconds_of(query_ns), seconds_of(keyframe_ns))))


def vision_info(*, method: str, location: str, version: int, frame_id: str) -> VisionInfo:
    """Which model answers from which map: the map's version counts its edits. It holds at any time: no stamp."""
    message = VisionInfo(method=method, database_location=location, database_version=min(int(version), INT32_MAX))
    message.header.frame_id = frame_id
    return message


def jpeg(data: bytes, stamp_ns: int, frame_id: str) -> CompressedImage:
    """The bytes of a JPEG file as a message."""
    return CompressedImage(header=header_of(stamp_ns, frame_id), format="jpeg", data=array("B", data))


class KeyframePath:
    """The map's keyframes as a Path that is kept and continued: a map of 100 000 keyframes takes seconds to build.

    `poses[i].header.frame_id` is `<map_id>/<keyframe id>`, its stamp the keyframe's. A keyframe without a map pose
    stands at the origin.
    """

    def __init__(self, map_id: str, frame_id: str):
        self.message = Path()
        # No stamp: the track holds at any time, and viewers then use the newest transform.
        self.message.header.frame_id = frame_id
        self.last_id = 0
        self._map_id = map_id

    def extend(self, keyframes: Keyframes, up_to: int) -> bool:
        """Append the keyframes with an id above `last_id` and at most `up_to`; True if there were any."""
        ids = keyframes.ids
        new = np.flatnonzero((ids > self.last_id) & (ids <= up_to))
        T = keyframes.T_map_base[new]
        T[~np.isfinite(T).all(axis=(1, 2))] = np.eye(4)
        columns = ids[new], keyframes.stamps_ns[new], T[:, :3, 3], matrix_to_quaternion(T[:, :3, :3])
        # In place: assigning the list makes rclpy look at every element again.
        for row in zip(*(column.tolist() for column in columns), strict=True):
            self.message.poses.append(self._pose(*row))
        if len(new):
            self.last_id = int(ids[new[-1]])
        return bool(len(new))

    def _pose(self, keyframe_id: int, stamp_ns: int, position: list, quaternion: list) -> PoseStamped:
        message = PoseStamped()
        message.header.frame_id = class_id(self._map_id, keyframe_id)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        p, q = message.pose.position, message.pose.orientation
        p.x, p.y, p.z = position
        q.x, q.y, q.z, q.w = quaternion
        return message
