"""A run of `localize` against its ground truth: poses of both bags, or which pictures show the same place."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation.margins import Margins, acceptance_threshold, margins
from vpr_ros.evaluation.matches import MatchRecord, RunInfo, read_matches, read_run
from vpr_ros.evaluation.summary import Evaluation, evaluate
from vpr_ros.evaluation.truth import Truth, truth_from_poses
from vpr_ros.evaluation.truth_sources import parse_truth, truth_of
from vpr_ros.evaluation.verified import CLOSURES, PoseErrors, VerifiedMatch, pose_errors, read_verified
from vpr_ros.place_map import Keyframes, PlaceMap
from vpr_ros.sensors import Bag, Trajectory
from vpr_ros.sensors.bags.drive_frames import DriveFrames, read_drive_frames
from vpr_ros.sensors.bags.topics import NAVSAT, is_ground_truth

POSE_TYPES = (
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "nav_msgs/msg/Odometry",
)


@dataclass(frozen=True)
class TruthConfig:
    """Where the ground truth comes from: `truth` if given, else the poses in the two kinds of bag."""

    map_bags: tuple[Path, ...] = ()
    query_bag: Path | None = None
    truth_topic: str | None = None  # None: the one topic whose name says ground truth
    radius_m: float = 10.0
    max_heading_deg: float | None = None
    max_gap_s: float = 1.0  # longest hole between two true poses that is interpolated over
    truth: str | None = None  # names, frames:K, or the path of a CSV or .npy file: see `evaluation.truth_sources`
    tolerance_frames: int = 0  # of the tables' rows without one
    image_topic: str | None = None  # of the query bag; None: found by type


@dataclass(frozen=True)
class EvaluatedRun:
    """A run, its map's keyframes, the truth for each of its frames, and the figures."""

    records: list[MatchRecord]
    run: RunInfo
    keyframes: Keyframes
    truth: Truth
    evaluation: Evaluation
    verified: list[VerifiedMatch] = field(default_factory=list)
    pose_errors: PoseErrors | None = None  # None without measured poses, or without true ones

    @property
    def margins(self) -> Margins:
        """How close the run came to other answers."""
        return margins(self.records, acceptance_threshold(self.run), self.truth)


def evaluate_run(out: str | Path, config: TruthConfig, map_path: str | Path | None = None) -> EvaluatedRun:
    """Figures of the run in folder `out`; the map is the one that run.json names unless `map_path` is given.

    Raises VprError for a missing or damaged run, a map that is another one than the run's, and bags without truth.
    """
    out = Path(out)
    records = read_matches(out / "matches.jsonl")
    run = read_run(out / "run.json")
    if not records:
        raise VprError(f"the run in {out} answered no frame: there is nothing to evaluate.")
    with PlaceMap.open(map_path or map_of(run, out)) as place_map:
        require_map_of(run, place_map, out)
        keyframes = place_map.keyframes()
        sources = {session.id: session.source for session in place_map.sessions()}
    if config.truth is not None and config.query_bag is None:
        topics = run.config.get("topics")
        topic = topics.get("image") if isinstance(topics, dict) else None
        config = replace(config, query_bag=Path(run.bag), image_topic=config.image_topic or topic)
    truth = find_truth(np.array([r.stamp_ns for r in records], np.int64), keyframes, sources, config)
    verified = read_verified(out / CLOSURES)
    errors = _pose_errors(verified, keyframes, sources, config)
    return EvaluatedRun(records, run, keyframes, truth, evaluate(records, truth), verified, errors)


def _pose_errors(
    verified: list[VerifiedMatch], keyframes: Keyframes, sources: dict[int, str], config: TruthConfig
) -> PoseErrors | None:
    """Of the measured poses; None where the truth is no poses."""
    if not verified or config.truth is not None or not config.map_bags or config.query_bag is None:
        return None
    stamps_ns = np.array([match.stamp_ns for match in verified], np.int64)
    queries = read_poses(config.query_bag, config.truth_topic).at_many(stamps_ns, config.max_gap_s)[0]
    true = true_keyframe_poses(keyframes, sources, config.map_bags, config.truth_topic, config.max_gap_s)
    return pose_errors(verified, queries, keyframes, true)


def map_of(run: RunInfo, out: Path) -> Path:
    """The map that run.json names, also when the whole folder was moved together with it."""
    named = Path(run.map)
    for path in (named, out / named.name, out.parent / named.name):
        if run.map and path.exists():
            return path
    raise VprError(f"the map of the run in {out} ('{run.map}') is not there: name it with --map.")


def require_map_of(run: RunInfo, place_map: PlaceMap, out: Path) -> None:
    """VprError where a map is another one than the run's."""
    if run.map_id and place_map.map_id != run.map_id:
        raise VprError(
            f"the run in {out} used map {run.map_id}, and {place_map.path} is map {place_map.map_id}: "
            "name the right file with --map."
        )


def find_truth(stamps_ns: np.ndarray, keyframes: Keyframes, sources: dict[int, str], config: TruthConfig) -> Truth:
    """Truth of the frames at `stamps_ns` (Q,); `sources` says which bag each session of the map came from."""
    if config.truth is not None:
        return truth_of(
            parse_truth(config.truth),
            stamps_ns,
            keyframes,
            lambda: _query_frames(config),
            lambda: _mapped_frames(sources, config),
            config.tolerance_frames,
            config.max_gap_s,
        )
    if not config.map_bags or config.query_bag is None:
        raise VprError("ground truth is missing: give --map-bag and --query-bag, or --truth.")
    query_poses = read_poses(config.query_bag, config.truth_topic).at_many(stamps_ns, config.max_gap_s)[0]
    keyframe_poses = true_keyframe_poses(keyframes, sources, config.map_bags, config.truth_topic, config.max_gap_s)
    if not np.isfinite(query_poses[:, 0, 3]).any():
        raise VprError(f"no frame of the run has a true pose in {config.query_bag}: is it the bag that was localised?")
    if not np.isfinite(keyframe_poses[:, 0, 3]).any():
        raise VprError(f"no keyframe has a true pose in {_names(config.map_bags)}: is it the bag that was mapped?")
    return truth_from_poses(query_poses, keyframes.ids, keyframe_poses, config.radius_m, config.max_heading_deg)


def true_keyframe_poses(
    keyframes: Keyframes, sources: dict[int, str], bags: Sequence[Path], topic: str | None, max_gap_s: float
) -> np.ndarray:
    """True poses (N, 4, 4) of all keyframes, NaN where no bag has one.

    Drives may overlap in time (simulated ones all begin at the same second), so a bag gives poses to the sessions that
    came from it; a bag that no session names gives poses to all sessions that name none of the bags.
    """
    poses = np.full((len(keyframes), 4, 4), np.nan)
    for bag, sessions in sessions_of_bags(sources, bags).items():
        rows = np.flatnonzero(np.isin(keyframes.sessions, sessions) & np.isnan(poses[:, 0, 3]))
        poses[rows] = read_poses(bag, topic).at_many(keyframes.stamps_ns[rows], max_gap_s)[0]
    return poses


def sessions_of_bags(sources: dict[int, str], bags: Sequence[Path]) -> dict[Path, list[int]]:
    """The sessions that came from each bag; a bag that no session names stands for all that name none of the bags."""
    named = {bag: [s for s, source in sources.items() if Path(source).name == Path(bag).name] for bag in bags}
    taken = {session for sessions in named.values() for session in sessions}
    return {bag: sessions or [s for s in sources if s not in taken] for bag, sessions in named.items()}


def _query_frames(config: TruthConfig) -> DriveFrames:
    if config.query_bag is None or not config.query_bag.exists():
        raise VprError(
            f"the pictures of the run are counted in its bag, and '{config.query_bag or ''}' is not there: name it "
            "with --query-bag."
        )
    return read_drive_frames(config.query_bag, config.image_topic)


def _mapped_frames(sources: dict[int, str], config: TruthConfig) -> dict[int, DriveFrames]:
    bag_of = {s: bag for bag, sessions in sessions_of_bags(sources, config.map_bags).items() for s in sessions}
    frames: dict[int, DriveFrames] = {}
    for session, source in sources.items():
        bag = bag_of.get(session, Path(source))
        if not source or not bag.exists():
            raise VprError(
                f"the pictures of the map are counted in the bags that it came from, and '{bag}' is not there: name "
                "it with --map-bag."
            )
        frames[session] = read_drive_frames(bag, config.image_topic)
    return frames


def read_poses(path: str | Path, topic: str | None = None) -> Trajectory:
    """Poses on a topic of a bag. Without a name, the only pose topic whose name says ground truth, else the only one.

    Raises VprError when the choice is not clear or the topic holds no usable pose.
    """
    with Bag(path) as bag:
        if topic is None:
            found = [t for t in bag.topics if t.msgtype in POSE_TYPES and t.count]
            found = [t for t in found if is_ground_truth(t.name)] or [t for t in found if t.msgtype != POSE_TYPES[2]]
            if len(found) != 1:
                names = ", ".join(t.name for t in found) or "none"
                raise VprError(
                    f"bag {path} has no single topic of true poses (found: {names}): pass --truth-topic NAME."
                )
            topic = found[0].name
        elif bag.topic(topic).msgtype == NAVSAT:
            raise VprError(f"topic {topic} of bag {path} holds satellite fixes; a topic with poses is needed.")
        trajectory = Trajectory.from_messages(
            message for _, _, message in bag.messages([topic], on_error=lambda *_: None)
        )
    if not len(trajectory):
        raise VprError(f"topic {topic} of bag {path} holds no usable pose.")
    return trajectory


def _names(bags: Sequence[Path]) -> str:
    return ", ".join(str(bag) for bag in bags)
