"""What a bag knows about where the robot was: odometry, poses or GNSS, TF, read in one pass into light arrays."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.sensors.bags.config import DriveConfig, DriveTopics
from vpr_ros.sensors.bags.reader import Bag
from vpr_ros.sensors.bags.topics import TF_TYPES
from vpr_ros.sensors.payload import frame_of, stamp_ns
from vpr_ros.sensors.poses.collectors import FixCollector, PoseCollector, PoseTrack
from vpr_ros.sensors.poses.tf import TransformTree
from vpr_ros.sensors.poses.trajectory import Trajectory, pose_of
from vpr_ros.sensors.upright import Mounting, mounting_by_tf, told


@dataclass
class PoseSources:
    """Poses of the base in the odometry and in the map frame, ready to be asked at image stamps."""

    tree: TransformTree
    odom: PoseTrack = field(default_factory=PoseTrack)  # T_odom_child
    pose: PoseTrack = field(default_factory=PoseTrack)  # T_map_base
    datum: tuple[float, float, float] | None = None
    base_frame: str = "base_link"
    T_child_base: np.ndarray = field(default_factory=lambda: np.eye(4))  # from odometry's child frame to the base
    rejected: Counter = field(default_factory=Counter)  # reason -> count
    first_errors: dict[str, str] = field(default_factory=dict)  # reason -> sentence
    notes: list[str] = field(default_factory=list)

    def reject(self, reason: str, sentence, count: int = 1) -> None:
        """Count something that could not be used."""
        self.rejected[reason] += count
        self.first_errors.setdefault(reason, str(sentence))

    def T_odom_base(self, bag_time_ns: int, stamp: int, max_gap_s: float) -> np.ndarray | None:
        """Odometry pose (4, 4) of the base at a stamp, None where nothing covers it."""
        trajectory = self.odom.segment(bag_time_ns)
        T_odom_child = trajectory.at(stamp, max_gap_s) if trajectory else None
        return None if T_odom_child is None else T_odom_child @ self.T_child_base

    def fixed(self, target: str, source: str) -> np.ndarray | None:
        """T_target_source (4, 4) where fixed links alone connect the two, else None."""
        try:
            return self.tree.lookup(target, source)
        except VprError:
            return None


def mounting_of(config: DriveConfig, sources: PoseSources, camera_frame: str) -> Mounting:
    """How the camera of a bag stands: as told, else by TF in the base frame of the configuration.

    Never in odometry's own frame, which may stand in for the base: an IMU's axes point anywhere.
    """
    base = config.base_frame.strip("/")
    return told(config.rotate) or mounting_by_tf(sources.fixed(base, camera_frame), base, camera_frame)


def read_pose_sources(bag: Bag, topics: DriveTopics, config: DriveConfig) -> PoseSources:
    """Read the pose topics of a bag once. `topics` holds resolved names, None where there is no such topic.

    TF stands in for a missing odometry or pose topic. Unusable messages are counted, never fatal.
    """
    sources = PoseSources(TransformTree(config.max_gap_s), base_frame=config.base_frame)
    odom, pose, fixes = PoseCollector(), PoseCollector(), FixCollector(config.datum)
    moving_tf = topics.odom is None or topics.pose is None or topics.points is not None
    tf_names = {
        t.name
        for t in bag.topics
        if t.msgtype in TF_TYPES and (t.name == topics.tf_static or (t.name == topics.tf and moving_tf))
    }
    names = {n for n in (topics.odom, topics.pose) if n} | tf_names
    frames: dict[str, tuple[str, str]] = {}
    for name, bag_time_ns, msg in bag.messages(names, lambda _, error: sources.reject("message unreadable", error)):
        try:
            if name in tf_names:
                sources.tree.add(msg, static=name == topics.tf_static)
            elif hasattr(msg, "latitude"):
                fixes.add(bag_time_ns, msg)
            else:
                T, covariance = pose_of(msg)
                frames.setdefault(name, (frame_of(msg), str(getattr(msg, "child_frame_id", "")).lstrip("/")))
                if name == topics.odom:
                    odom.add(bag_time_ns, stamp_ns(msg), T, None)
                if name == topics.pose:
                    pose.add(bag_time_ns, stamp_ns(msg), T, covariance)
        except FrameError as error:
            sources.reject("pose unusable", error)
    if sources.tree.rejected:
        sources.reject(
            "TF link unusable", "TF link holds NaN, a zero quaternion or names no frame", sources.tree.rejected
        )
    base = config.base_frame
    sources.odom = odom.track() if topics.odom else tf_track(sources.tree, config.odom_frame, base)
    sources.pose = pose.track() if topics.pose else tf_track(sources.tree, config.map_frame, base)
    if not len(sources.pose):
        sources.pose = fixes.track()
        sources.datum = fixes.datum
    _, child = frames.get(topics.odom or "", ("", ""))
    if child and child != base:
        _link_child(sources, child)
    return sources


def _link_child(sources: PoseSources, child: str) -> None:
    """Odometry speaks of another frame than the base: let fixed TF links bridge the two, else take its word."""
    try:
        sources.T_child_base = sources.tree.lookup(child, sources.base_frame)
    except VprError:
        sources.notes.append(
            f"odometry is about {child}, which TF does not link to {sources.base_frame}: {child} is taken as the base"
        )
        sources.base_frame = child


def tf_track(tree: TransformTree, target: str, source: str) -> PoseTrack:
    """Trajectory of T_target_source at the fastest moving link's stamps; empty when TF does not know it."""
    track = PoseTrack()
    if not {target, source} <= set(tree.frames):
        return track
    try:
        stamps = tree.edge_stamps(target, source)
        T, covered = tree.lookup_many(target, source, stamps)  # of several moving links, where all are known
    except VprError:
        return track
    if covered.any():
        track.trajectories.append(Trajectory(stamps[covered], T[covered]))
        track.starts_ns.append(int(stamps[covered][0]))
    return track
