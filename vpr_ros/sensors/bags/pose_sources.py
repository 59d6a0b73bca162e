"""What a bag knows about where the robot was: odometry, poses or GNSS, TF, read in one pass into light arrays."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.sensors.bags.config import DriveConfig, DriveTopics
from vpr_ros.sensors.bags.reader import Bag
from vpr_ros.sensors.bags.robot_names import Frames, TfTopics, prefixed_frames, tf_topics
from vpr_ros.sensors.payload import stamp_ns
from vpr_ros.sensors.poses.collectors import PoseTrack
from vpr_ros.sensors.poses.fixes import FixCollector
from vpr_ros.sensors.poses.frame_graph import DisputedFramesError, known_list, two_parents
from vpr_ros.sensors.poses.tf import TransformTree
from vpr_ros.sensors.poses.topic_frames import PosesByFrame, WantedFrames
from vpr_ros.sensors.poses.trajectory import Trajectory, pose_of
from vpr_ros.sensors.upright import Mounting, mounting_by_tf, told

TrackStage = Literal["odometry", "pose"]
PoseStage = TrackStage | Literal["tf"]
_WELL_COVERED, _CLEARLY = 0.95, 0.05  # of the recording
_ANOTHER_PLACE_M = 100_000.0  # east-north-up coordinates bend away from the ground long before
_OF: dict[TrackStage, str] = {"odometry": "odometry", "pose": "poses"}


@dataclass(frozen=True)
class PoseNote:
    """A sentence about the poses of a bag: on what was chosen, or (`wrong`) on what may be wrong with them."""

    stage: PoseStage
    sentence: str
    wrong: bool = True


@dataclass
class PoseSources:
    """Poses of the base in the odometry and in the map frame, ready to be asked at image stamps."""

    tree: TransformTree
    tf: TfTopics
    frames: Frames
    odom: PoseTrack = field(default_factory=PoseTrack)  # T_odom_child
    pose: PoseTrack = field(default_factory=PoseTrack)  # T_map_base
    datum: tuple[float, float, float] | None = None
    base_frame: str = "base_link"  # that the poses are about: `frames.base`, or what stands in for it
    T_child_base: np.ndarray = field(default_factory=lambda: np.eye(4))  # from odometry's child frame to the base
    rejected: Counter = field(default_factory=Counter)  # reason -> count
    first_errors: dict[str, str] = field(default_factory=dict)  # reason -> sentence
    notes: list[PoseNote] = field(default_factory=list)
    by_tf: set[TrackStage] = field(default_factory=set)  # stages whose topic covers so little that TF is taken

    def track(self, stage: TrackStage) -> PoseTrack:
        """Odometry or poses."""
        return self.odom if stage == "odometry" else self.pose

    def reject(self, reason: str, sentence, count: int = 1) -> None:
        """Count something that could not be used."""
        self.rejected[reason] += count
        self.first_errors.setdefault(reason, str(sentence))

    def note(self, stage: PoseStage, sentence: str, wrong: bool = True) -> None:
        """Tell something; nothing where the sentence is empty."""
        if sentence:
            self.notes.append(PoseNote(stage, sentence, wrong))

    def sentences(self, stage: PoseStage, wrong: bool) -> list[str]:
        """What is told of a stage, of the one kind or the other."""
        return [note.sentence for note in self.notes if (note.stage, note.wrong) == (stage, wrong)]

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
    """How the camera of a bag stands: as told, else by TF in the robot's base frame.

    Never in odometry's own frame, which may stand in for the base: an IMU's axes point anywhere.
    """
    base = sources.frames.base
    return told(config.rotate) or mounting_by_tf(sources.fixed(base, camera_frame), base, camera_frame)


def read_pose_sources(
    bag: Bag, topics: DriveTopics, config: DriveConfig, asked: DriveTopics | None = None
) -> PoseSources:
    """Read the pose topics of a bag. `topics` holds resolved names, None where there is no such topic.

    TF stands in for a missing odometry or pose topic, and for one that `asked` does not name and that covers clearly
    less of the recording. Unusable messages are counted, never fatal. Raises VprError for a TF topic that was asked for
    and is none.
    """
    moving_tf = topics.odom is None or topics.pose is None or topics.points is not None
    sources = _read(bag, topics, config, moving_tf)
    found: dict[TrackStage, str | None] = {"odometry": topics.odom, "pose": topics.pose}
    if asked is not None:
        named: dict[TrackStage, str | None] = {"odometry": asked.odom, "pose": asked.pose}
        found = {stage: name if named[stage] is None else None for stage, name in found.items()}
    enough_s = _WELL_COVERED * bag.duration_s
    poor: dict[TrackStage, str] = {
        stage: topic
        for stage, topic in found.items()
        if topic and asked and sources.track(stage).covered_s(config.max_gap_s) < enough_s
    }
    if poor and sources.tf.moving:
        if not moving_tf:
            sources = _read(bag, topics, config, True)
        for stage, topic in poor.items():
            _weigh(sources, stage, topic, bag.duration_s, config)
    return sources


def _weigh(sources: PoseSources, stage: TrackStage, topic: str, duration_s: float, config: DriveConfig) -> None:
    """Let TF stand in for a topic that covers clearly less of the recording; fixes that give poses are kept, since
    their frame is the same in every drive."""
    frame = sources.frames.odom if stage == "odometry" else sources.frames.map
    offset_s = config.odom_offset_s if stage == "odometry" else config.pose_offset_s
    track, of_tf = sources.track(stage), _tf_poses(sources, stage, frame).moved(offset_s)
    shares = [t.covered_s(config.max_gap_s) / max(duration_s, 1e-9) for t in (track, of_tf)]
    if not len(of_tf):
        return
    told = f"TF ({frame} -> {sources.frames.base}) covers {shares[1]:.0%} of the recording, {topic} {shares[0]:.0%}"
    if shares[1] < shares[0] + _CLEARLY or (stage == "pose" and sources.datum is not None and len(track)):
        sources.note(stage, f"{told}: {topic} is taken", wrong=False)
        return
    if stage == "odometry":
        sources.odom, sources.T_child_base, sources.base_frame = of_tf, np.eye(4), sources.frames.base
    else:
        sources.pose, sources.datum = of_tf, None
    sources.by_tf.add(stage)
    option = "--odom-topic" if stage == "odometry" else "--pose-topic"
    sources.note(stage, f"{told}: TF is taken; {option} {topic} takes the topic", wrong=False)


def _read(bag: Bag, topics: DriveTopics, config: DriveConfig, moving_tf: bool) -> PoseSources:
    tf = tf_topics(bag, topics)
    tree = TransformTree(config.max_gap_s)
    sources = PoseSources(tree, tf, Frames.found(config, ()))
    odom, pose, fixes = PosesByFrame(), PosesByFrame(), FixCollector(config.datum)
    tf_names = {n for n in (tf.static, tf.moving if moving_tf else None) if n}
    names = {n for n in (topics.odom, topics.pose) if n} | tf_names
    for name, bag_time_ns, msg in bag.messages(names, lambda _, error: sources.reject("message unreadable", error)):
        try:
            if name in tf_names:
                tree.add(msg, static=name == tf.static, received_ns=bag_time_ns)
            elif hasattr(msg, "latitude"):
                fixes.add(bag_time_ns, msg)
            else:
                T, covariance = pose_of(msg)
                if name == topics.odom:
                    odom.add(msg, bag_time_ns, stamp_ns(msg), T, None)
                if name == topics.pose:
                    pose.add(msg, bag_time_ns, stamp_ns(msg), T, covariance)
        except FrameError as error:
            sources.reject("pose unusable", error)
    if tree.rejected:
        sources.reject("TF link unusable", "TF link holds NaN, a zero quaternion or names no frame", tree.rejected)
    sources.frames = frames = Frames.found(config, {*tree.frames, *odom.frames, *pose.frames})
    sources.base_frame = frames.base
    sources.note("tf", tf.note, wrong=False)
    sources.note("tf", frames.note, wrong=False)
    for child, parents in tree.disputed.items():
        sources.note("tf", f"{two_parents(child, parents)}: each link is read by itself; let one of them be still")
    _note_missing_base(sources, odom.frames)
    sources.odom = _odometry(sources, odom, topics.odom).moved(config.odom_offset_s)
    sources.pose = _map_poses(sources, pose, fixes, topics.pose).moved(config.pose_offset_s)
    for stage, offset_s in _offsets(config).items():
        sources.note(stage, f"the stamps of {_OF[stage]} are moved by {offset_s:+g} s" if offset_s else "", wrong=False)
    return sources


def _offsets(config: DriveConfig) -> dict[TrackStage, float]:
    return {"odometry": config.odom_offset_s, "pose": config.pose_offset_s}


def _odometry(sources: PoseSources, poses: PosesByFrame, topic: str | None) -> PoseTrack:
    if topic is None:
        return _tf_poses(sources, "odometry", sources.frames.odom)
    chosen = poses.choose(WantedFrames(sources.frames.odom, child=sources.frames.base))
    sources.note("odometry", poses.disagreement(topic))
    if chosen is None:
        return PoseTrack()
    if chosen.child and chosen.child != sources.frames.base:
        _link_child(sources, chosen.child)
    return chosen.collector.track()


def _map_poses(sources: PoseSources, poses: PosesByFrame, fixes: FixCollector, topic: str | None) -> PoseTrack:
    track = PoseTrack() if topic else _tf_poses(sources, "pose", sources.frames.map)
    wanted = WantedFrames(sources.frames.map, unlike=sources.frames.odom)
    if topic and (chosen := poses.choose(wanted)) is not None:
        sources.note("pose", poses.disagreement(topic))
        if refusal := wanted.refusal(chosen.frame, chosen.child):
            sources.reject("pose unusable", f"{topic}: {refusal}", chosen.count)
        else:
            track = chosen.collector.track()
    if not len(track):
        track = fixes.track()
        sources.datum = fixes.datum
        if fixes.implausible:
            sources.reject("GNSS fix implausible", fixes.first_implausible, fixes.implausible)
        if fixes.datum is not None and fixes.away_m > _ANOTHER_PLACE_M:
            sources.note(
                "pose",
                f"the GNSS fixes are {fixes.away_m / 1000:.0f} km from the map's origin (latitude "
                f"{fixes.datum[0]:.5f}, longitude {fixes.datum[1]:.5f}): another place needs a map of its own",
            )
        if fixes.unknown_altitudes:
            sources.note(
                "pose",
                f"{fixes.unknown_altitudes} GNSS fixes do not know their altitude: that of the others stands in",
                wrong=False,
            )
    return track


def _note_missing_base(sources: PoseSources, odometry_frames: set[str]) -> None:
    """TF that does not know the robot's frame places no sensor; several robots may have one of that name."""
    base = sources.frames.base
    known = {*sources.tree.frames, *odometry_frames}
    if base in known or not sources.tree.frames:
        return
    if robots := prefixed_frames(base, known):
        sources.note("tf", f"there is no frame {base}, but {', '.join(robots)}: name one with --base-frame")
    else:
        frames = ", ".join(known_list(sources.tree.frames))
        sources.note("tf", f"TF of {frames} has no frame {base}: name the robot's own with --base-frame", wrong=False)


def _link_child(sources: PoseSources, child: str) -> None:
    """Odometry speaks of another frame than the base: let fixed TF links bridge the two, else take its word."""
    try:
        sources.T_child_base = sources.tree.lookup(child, sources.base_frame)
    except VprError:
        sources.note(
            "odometry",
            f"odometry is about {child}, which TF does not link to {sources.base_frame}: {child} is taken as the base",
        )
        sources.base_frame = child


def _tf_poses(sources: PoseSources, stage: TrackStage, frame: str) -> PoseTrack:
    """Poses of the base in a frame by TF, empty where it does not tell; a dispute over its frames is noted."""
    try:
        return tf_track(sources.tree, frame, sources.frames.base)
    except DisputedFramesError as error:
        sources.note(stage, f"no {stage} from TF: {error}")
        return PoseTrack()


def tf_track(tree: TransformTree, target: str, source: str) -> PoseTrack:
    """Trajectory of T_target_source at the fastest moving link's stamps; empty when TF does not know it.

    Raises DisputedFramesError where TF connects the two in more than one way.
    """
    track = PoseTrack()
    try:
        clock = tree.clock(target, source)
        T, covered = tree.lookup_many(target, source, clock.stamps_ns)  # of several moving links, where all are known
    except DisputedFramesError:
        raise
    except VprError:
        return track
    if covered.any():
        track.trajectories.append(Trajectory(clock.stamps_ns[covered], T[covered]))
        track.starts_ns.append(int(track.trajectories[0].stamps_ns[0]))
        track.clock = clock
    return track
