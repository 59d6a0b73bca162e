"""Pose sources of a bag, read in one pass into light arrays: odometry, poses, GNSS fixes, TF."""

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import geodetic_to_enu, planar_transform
from vpr_ros.sensors.buffers import frame_of, stamp_ns
from vpr_ros.sensors.trajectory import Trajectory, pose_of
from vpr_ros.sensors.transforms import TransformTree

JUMP_NS = 1_000_000_000  # a stamp this far back is a restarted clock or a looped bag, less is disorder


@dataclass
class PoseTrack:
    """Trajectories of one source, a new one after each backward jump of its clock, with their receive times."""

    trajectories: list[Trajectory] = field(default_factory=list)
    starts_ns: list[int] = field(default_factory=list)
    frame_id: str = ""
    child_frame_id: str = ""

    def __len__(self) -> int:
        return sum(len(t) for t in self.trajectories)

    def segment(self, bag_time_ns: int) -> Trajectory | None:
        """The trajectory that was being recorded at a receive time: stamps alone repeat in a looped bag."""
        if not self.trajectories:
            return None
        return self.trajectories[max(bisect_right(self.starts_ns, bag_time_ns) - 1, 0)]


class PoseCollector:
    """Gathers stamped poses in the order of arrival and cuts them where the clock jumped back."""

    def __init__(self):
        self._rows: list[tuple[int, int, np.ndarray, np.ndarray | None]] = []

    def add(self, bag_time_ns: int, stamp: int, T: np.ndarray, covariance: np.ndarray | None) -> None:
        self._rows.append((bag_time_ns, stamp, T, covariance))

    def track(self) -> PoseTrack:
        if not self._rows:
            return PoseTrack()
        bag_times = np.array([r[0] for r in self._rows], np.int64)
        stamps = np.array([r[1] for r in self._rows], np.int64)
        if not stamps.any():
            stamps = bag_times  # a driver that never sets stamps
        highest, cuts = stamps[0], [0]
        for i in range(1, len(stamps)):
            if stamps[i] < highest - JUMP_NS:
                cuts.append(i)
                highest = stamps[i]
            highest = max(highest, stamps[i])
        track = PoseTrack()
        for begin, end in zip(cuts, [*cuts[1:], len(stamps)], strict=True):
            covariances = [r[3] for r in self._rows[begin:end]]
            known = any(c is not None for c in covariances)
            filled = np.array([np.full((6, 6), np.nan) if c is None else c for c in covariances]) if known else None
            track.trajectories.append(
                Trajectory(stamps[begin:end], np.array([r[2] for r in self._rows[begin:end]]), filled))
            track.starts_ns.append(int(bag_times[begin]))
        return track


class FixCollector:
    """GNSS fixes as poses in an east-north-up frame; heading is the course over ground between fixes.

    A fix says nothing about heading, so a pose exists only where two fixes at least `min_step_m` apart tell the
    direction of travel; while standing the last course is kept. Driving backwards turns the heading around.
    """

    def __init__(self, datum=None, min_step_m: float = 1.0):
        self.datum = datum
        self.min_step_m = min_step_m
        self._rows: list[tuple[int, int, np.ndarray, np.ndarray | None]] = []

    def add(self, bag_time_ns: int, msg) -> None:
        """Take one NavSatFix; FrameError when it holds no fix."""
        position = (float(msg.latitude), float(msg.longitude), float(msg.altitude))
        if int(msg.status.status) < 0:
            raise FrameError("GNSS message without a fix")
        if not np.isfinite(position[:2]).all() or abs(position[0]) > 90 or abs(position[1]) > 360:
            raise FrameError("GNSS fix with NaN or an impossible latitude or longitude")
        if not np.isfinite(position[2]):  # two-dimensional fixes carry NaN as altitude
            position = (*position[:2], self.datum[2] if self.datum else 0.0)
        if self.datum is None:
            self.datum = position
        covariance = None
        if int(msg.position_covariance_type) > 0:
            covariance = np.zeros((6, 6))
            covariance[:3, :3] = np.asarray(msg.position_covariance, np.float64).reshape(3, 3)
            # Roll and pitch are unknown, the course is good to about 18 degrees.
            covariance[3:, 3:] = np.diag([np.pi**2, np.pi**2, 0.1])
        self._rows.append((bag_time_ns, stamp_ns(msg), geodetic_to_enu(*position, self.datum), covariance))

    def track(self) -> PoseTrack:
        collector = PoseCollector()
        if not self._rows:
            return PoseTrack()
        positions = np.array([r[2] for r in self._rows])
        anchor, headings = 0, np.full(len(positions), np.nan)
        for i in range(1, len(positions)):
            step = positions[i, :2] - positions[anchor, :2]
            if np.hypot(*step) >= self.min_step_m:
                headings[anchor:i + 1] = np.where(
                    np.isnan(headings[anchor:i + 1]), np.arctan2(step[1], step[0]), headings[anchor:i + 1])
                headings[i] = np.arctan2(step[1], step[0])
                anchor = i
        last = np.nan
        for i, heading in enumerate(headings):
            last = heading if np.isfinite(heading) else last
            if np.isfinite(last):
                bag_time_ns, stamp, p, covariance = self._rows[i]
                collector.add(bag_time_ns, stamp, planar_transform(p[0], p[1], last, p[2]), covariance)
        return collector.track()


@dataclass
class PoseSources:
    """What a bag knows about where the robot was."""

    odom: PoseTrack
    pose: PoseTrack
    tree: TransformTree
    datum: tuple[float, float, float] | None
    rejected: Counter  # reason -> count
    first_errors: dict[str, str]  # reason -> sentence


def read_pose_sources(bag, topics, max_gap_s: float, datum=None, use_moving_tf: bool = True) -> PoseSources:
    """Read odometry, poses or fixes and TF of a bag in one pass.

    `topics` is a DriveTopics whose odom and pose are names or None.
    Unusable messages are counted, never fatal.
    """
    rejected, first_errors = Counter(), {}

    def reject(reason: str, error) -> None:
        rejected[reason] += 1
        first_errors.setdefault(reason, str(error))

    odom, pose, fixes = PoseCollector(), PoseCollector(), FixCollector(datum)
    tree = TransformTree(max_gap_s)
    present = {t.name: t for t in bag.topics}
    tf_names = [n for n in (topics.tf_static, topics.tf if use_moving_tf else None)
                if n in present and present[n].msgtype.endswith("/TFMessage") or n in present
                and present[n].msgtype.endswith("/tfMessage")]
    names = [n for n in (topics.odom, topics.pose, *tf_names) if n]
    frames: dict[str, tuple[str, str]] = {}
    unreadable = "message unreadable"
    for name, bag_time_ns, msg in bag.messages(names, lambda _, e: reject(unreadable, e)) if names else ():
        if name in tf_names:
            tree.add(msg, static=name == topics.tf_static)
            continue
        try:
            if hasattr(msg, "latitude"):
                fixes.add(bag_time_ns, msg)
                frames.setdefault(name, ("", ""))
                continue
            T, covariance = pose_of(msg)
        except FrameError as error:
            reject("pose unusable", error)
            continue
        frames.setdefault(name, (frame_of(msg), str(getattr(msg, "child_frame_id", "")).lstrip("/")))
        if name == topics.odom:
            odom.add(bag_time_ns, stamp_ns(msg), T, None)
        if name == topics.pose:
            pose.add(bag_time_ns, stamp_ns(msg), T, covariance)
    if tree.rejected:
        rejected["TF link unusable"] = tree.rejected
        first_errors["TF link unusable"] = "TF link holds NaN, a zero quaternion or names no frame"
    odom_track, pose_track = odom.track(), pose.track()
    if not len(pose_track):
        pose_track = fixes.track()
    for track, name in ((odom_track, topics.odom), (pose_track, topics.pose)):
        track.frame_id, track.child_frame_id = frames.get(name, ("", ""))
    return PoseSources(odom_track, pose_track, tree, fixes.datum, rejected, first_errors)


def tf_track(tree: TransformTree, target: str, source: str) -> PoseTrack:
    """Trajectory of T_target_source at the moving link's own stamps; empty when TF does not know it."""
    track = PoseTrack(frame_id=target, child_frame_id=source)
    if not {target, source} <= set(tree.frames):
        return track
    stamps, poses = [], []
    try:
        for stamp in tree.edge_stamps(target, source):
            try:
                poses.append(tree.lookup(target, source, int(stamp)))
            except VprError:
                continue  # a chain of several moving links is covered only where all of them are
            stamps.append(int(stamp))
    except VprError:
        return track
    if stamps:
        track.trajectories.append(Trajectory(np.array(stamps), np.array(poses)))
        track.starts_ns.append(stamps[0])
    return track
