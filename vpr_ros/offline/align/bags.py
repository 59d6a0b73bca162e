"""Two bags in one frame: through the datum of their satellite fixes, or by their clouds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.offline.align.graph import Aligned, align_drives
from vpr_ros.offline.align.judging import Hold, judge, refuse
from vpr_ros.offline.align.scans import Scans, moved_along, read_scans
from vpr_ros.offline.crossing import Crossing, CrossingConfig, find_crossing
from vpr_ros.offline.pose_graph import load_gtsam
from vpr_ros.sensors import Bag, DriveConfig, DriveTopics, Trajectory
from vpr_ros.sensors.bags.pose_sources import read_pose_sources
from vpr_ros.sensors.bags.topics import NAVSAT

METHODS = ("auto", "gnss", "lidar")


@dataclass(frozen=True)
class Tie:
    """What held two drives together by LiDAR."""

    crossing: Crossing
    aligned: Aligned
    hold: Hold


@dataclass(frozen=True)
class Alignment:
    """Poses of the second drive in the first drive's frame, and sentences on how they came about.

    `first` are the first drive's poses in that frame, where they were asked for. `tie` is there for --method lidar.
    """

    trajectory: Trajectory
    summary: str
    notes: tuple[str, ...] = ()
    first: Trajectory | None = None
    tie: Tie | None = None


def align_bags(
    first: str | Path,
    second: str | Path,
    method: str = "auto",
    move_first: bool = False,
    topics: DriveTopics | None = None,
    config: DriveConfig | None = None,
    crossing: CrossingConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Alignment:
    """Trajectory of the bag `second` in the frame of the bag `first`.

    "gnss": east-north-up at the first fix of `first`. "lidar": the odometry frame of `first`, whose poses stay as they
    are, so that those of `second` follow its drift; with `move_first` both drives are corrected and both trajectories
    given, in the frame of the first one's first pose, which a first drive needs that has no odometry. "auto" takes
    fixes where both bags have them. `topics` and `config` say how both bags are read, `crossing` how their clouds are
    compared; `progress(done, total)` counts registrations. Raises VprError where the bags or the machine lack what the
    method needs, and where the clouds' constraints are too few, disagree, or cover too little.
    """
    if method not in METHODS:
        raise VprError(f"--method is '{method}': choose one of {', '.join(METHODS)}.")
    topics, config = replace(topics or DriveTopics(), pose="none"), config or DriveConfig()
    if method != "lidar":
        first_topic, second_topic = _fix_topic(first), _fix_topic(second)
        if first_topic is not None and second_topic is not None:
            return _by_fixes((first, first_topic), (second, second_topic), move_first, topics, config)
        if method == "gnss":
            path = first if first_topic is None else second
            raise VprError(f"bag {path} has no single topic of satellite fixes: try --method lidar.")
    load_gtsam()  # before the clouds, which take minutes
    with TemporaryDirectory(prefix="vpr_ros_align_") as folder:
        scans = [read_scans(bag, Path(folder) / str(n), topics, config) for n, bag in enumerate((first, second))]
        if not (scans[0].has_odometry or move_first):
            raise VprError(
                f"bag {first} has no odometry to be the frame: --first FILE writes its poses by its clouds, too"
            )
        found = find_crossing(scans[0].drive, scans[1].drive, crossing, progress)
        return _by_graph(scans[0], scans[1], found, move_first)


def _fix_topic(path) -> str | None:
    with Bag(path) as bag:
        found = [t.name for t in bag.topics if t.msgtype == NAVSAT and t.count]
    return found[0] if len(found) == 1 else None


def _by_fixes(
    first: tuple[str | Path, str],
    second: tuple[str | Path, str],
    with_first: bool,
    topics: DriveTopics,
    config: DriveConfig,
) -> Alignment:
    """From two bags, each with its topic of fixes."""
    datum, left_out, trajectories = None, "", []
    for path, topic in (first, second):
        with Bag(path) as bag:
            sources = read_pose_sources(bag, replace(topics, pose=topic), replace(config, datum=datum))
        datum = sources.datum
        if count := sources.rejected.total():
            left_out += f"; {count} messages of {path} left out ({'; '.join(sources.first_errors.values())})"
        if not len(sources.pose) or datum is None:
            raise VprError(
                f"the fixes on {topic} of bag {path} give no pose: too few, or the robot stood still{left_out}."
            )
        parts = sources.pose.trajectories
        trajectories.append(
            Trajectory(np.concatenate([t.stamps_ns for t in parts]), np.concatenate([t.T for t in parts]))
        )
    latitude, longitude, altitude = datum or (0.0, 0.0, 0.0)
    origin = f"latitude {latitude:.7f}, longitude {longitude:.7f}, altitude {altitude:.2f} m"
    summary = f"east-north-up at {origin}{left_out}"
    return Alignment(trajectories[1], summary, first=trajectories[0] if with_first else None)


def _by_graph(first: Scans, second: Scans, found: Crossing, move_first: bool) -> Alignment:
    names = first.drive.name, second.drive.name
    if not found.constraints:
        raise VprError(
            f"{names[0]} and {names[1]} cannot be brought into one frame: of {found.registered} registrations no two "
            "stretches say the same. Do they share a street, with walls or trees that a LiDAR sees?"
        )
    aligned = align_drives(found, move_first)
    hold = judge(aligned, found.second)
    refuse(hold, found.first, names)
    trajectory = moved_along(second, found.second, np.where(hold.reached[:, None, None], aligned.second, np.nan))
    notes = [note for note in (hold.gap_sentence, hold.bend_sentence) if note]
    if lost := len(second.stamps_ns) - len(trajectory):
        notes.append(f"{lost} of {len(second.stamps_ns)} pictures have no pose: too far from any constraint")
    if lost := len(found.constraints) - hold.constraints:
        notes.append(
            f"odometry of {names[0]} breaks: {lost} constraints with its other stretches are left out, whose poses are "
            "in other frames"
        )
    return Alignment(
        trajectory,
        f"{hold.sentence}; frame: {'odometry' if first.has_odometry else 'first cloud'} of {names[0]}",
        tuple(notes),
        moved_along(first, found.first, aligned.first) if move_first else None,
        Tie(found, aligned, hold),
    )
