"""Two drives in one frame: through the datum of their satellite fixes, or by registering their clouds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, yaw_of
from vpr_ros.sensors import Bag, Drive, DriveConfig, DriveTopics, Trajectory
from vpr_ros.sensors.bags.pose_sources import read_pose_sources
from vpr_ros.sensors.bags.topics import NAVSAT

METHODS = ("auto", "gnss", "lidar")


@dataclass(frozen=True)
class Alignment:
    """Poses of the second drive in the first drive's frame, and a phrase on how they came about."""

    trajectory: Trajectory
    summary: str


@dataclass(frozen=True)
class LidarAlignConfig:
    """Clouds of near-looking places are registered; the drives' transform is what most registrations agree on."""

    spacing_m: float = 5.0  # between the frames of a drive that are compared
    candidates: int = 40  # pairs of frames, the most alike first
    agree_m: float = 2.0
    agree_rad: float = 0.1
    least_votes: int = 3


def align_bags(
    first: str | Path,
    second: str | Path,
    method: str = "auto",
    extractor=None,
    topics: DriveTopics | None = None,
    config: DriveConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Alignment:
    """Trajectory of the bag `second` in the frame of the bag `first`.

    "gnss": east-north-up at the first fix of `first`. "lidar": the odometry frame of `first`; `extractor` (None: the
    shipped nano) proposes the places whose clouds are registered. "auto" takes fixes where both bags have them.
    `topics` and `config` say how both bags are read; `progress(done, total)` counts registrations. Raises VprError
    where the bags lack what the method needs, or the clouds do not agree.
    """
    if method not in METHODS:
        raise VprError(f"--method is '{method}': choose one of {', '.join(METHODS)}.")
    topics, config = replace(topics or DriveTopics(), pose="none"), config or DriveConfig()
    if method == "lidar":
        return _by_lidar(first, second, extractor, LidarAlignConfig(), topics, config, progress)
    first_topic, second_topic = _fix_topic(first), _fix_topic(second)
    if first_topic is not None and second_topic is not None:
        return _by_fixes((first, first_topic), (second, second_topic), topics, config)
    if method == "gnss":
        path = first if first_topic is None else second
        raise VprError(f"bag {path} has no single topic of satellite fixes: try --method lidar.")
    return _by_lidar(first, second, extractor, LidarAlignConfig(), topics, config, progress)


def _fix_topic(path) -> str | None:
    with Bag(path) as bag:
        found = [t.name for t in bag.topics if t.msgtype == NAVSAT and t.count]
    return found[0] if len(found) == 1 else None


def _by_fixes(
    first: tuple[str | Path, str], second: tuple[str | Path, str], topics: DriveTopics, config: DriveConfig
) -> Alignment:
    """From two bags, each with its topic of fixes."""
    datum, left_out = None, ""
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
    trajectory = Trajectory(np.concatenate([t.stamps_ns for t in parts]), np.concatenate([t.T for t in parts]))
    latitude, longitude, altitude = datum
    origin = f"latitude {latitude:.7f}, longitude {longitude:.7f}, altitude {altitude:.2f} m"
    return Alignment(trajectory, f"east-north-up at {origin}{left_out}")


def _by_lidar(
    first,
    second,
    extractor,
    config: LidarAlignConfig,
    topics: DriveTopics,
    reading: DriveConfig,
    progress: Callable[[int, int], None] | None,
) -> Alignment:
    from vpr_ros.student import DescriptorExtractor
    from vpr_ros.verification import verify_clouds

    extractor = extractor or DescriptorExtractor.from_checkpoint("nano")
    frames, described = [], []
    for path in (first, second):
        kept = _spaced_frames(path, config.spacing_m, extractor, topics, reading)
        frames.append(kept)
        described.append(np.asarray(extractor.describe([f.image for f in kept]), np.float32))
    votes = []
    pairs = _most_alike(described[1] @ described[0].T, config.candidates)
    for done, (i, j) in enumerate(pairs, 1):
        query, reference = frames[1][i], frames[0][j]
        verified = verify_clouds(query.cloud, reference.cloud)
        if verified.accepted and verified.T_keyframe_query is not None:
            votes.append(reference.T_odom_base @ verified.T_keyframe_query @ invert(query.T_odom_base))
        if progress is not None:
            progress(done, len(pairs))
    T, agreeing = consensus(votes, config)
    if agreeing < config.least_votes:
        raise VprError(
            f"the clouds of {first} and {second} do not agree on one frame ({agreeing} of {len(votes)} registrations): "
            "do the drives share a street?"
        )
    with Drive(second, topics, reading) as drive:
        poses = [(o.stamp_ns, T @ o.T_odom_base) for o in drive if o.T_odom_base is not None]
    trajectory = Trajectory(np.array([p[0] for p in poses]), np.array([p[1] for p in poses]))
    return Alignment(trajectory, f"{agreeing} of {len(votes)} cloud registrations agree; frame: odometry of {first}")


def _spaced_frames(path, spacing_m: float, extractor, topics: DriveTopics, reading: DriveConfig):
    """Observations of a bag with odometry and a cloud, `spacing_m` apart or more, images at the network's size."""
    kept, last = [], None
    with Drive(path, topics, reading, load_clouds=True) as drive:
        for observation in drive:
            T = observation.T_odom_base
            if T is None or observation.cloud is None:
                continue
            if last is None or np.linalg.norm(T[:3, 3] - last[:3, 3]) >= spacing_m:
                kept.append(replace(observation, image=extractor.prepare(observation.image)))
                last = T
    if not kept:
        raise VprError(f"bag {path} has no frame with both odometry and a cloud: --method lidar needs them.")
    return kept


def _most_alike(similarity: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Pairs (query row, reference row): each query's best reference, the most similar queries first."""
    best = similarity.argmax(axis=1)
    order = np.argsort(-similarity.max(axis=1), kind="stable")[:count]
    return [(int(i), int(best[i])) for i in order]


def consensus(votes: list[np.ndarray], config: LidarAlignConfig) -> tuple[np.ndarray, int]:
    """The transform (4, 4) that most votes lie near, and how many do; identity and 0 without votes."""
    best, supporters = np.eye(4), 0
    for T in votes:
        delta = [invert(T) @ other for other in votes]
        near = sum(
            float(np.linalg.norm(d[:3, 3])) <= config.agree_m and abs(float(yaw_of(d))) <= config.agree_rad
            for d in delta
        )
        if near > supporters:
            best, supporters = T, near
    return best, supporters
