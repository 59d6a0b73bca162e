"""One verdict for every stage that a bag feeds: images, odometry, poses, clouds, TF and camera calibration."""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.clock_problems import clock_problems, points_clock
from vpr_ros.sensors.bags.config import DriveConfig, DriveTopics
from vpr_ros.sensors.bags.pose_sources import PoseSources, TrackStage
from vpr_ros.sensors.bags.reader import Bag
from vpr_ros.sensors.bags.robot_names import TF_TYPES
from vpr_ros.sensors.bags.scan import TopicScan
from vpr_ros.sensors.bags.topics import candidates
from vpr_ros.sensors.clocks import Clock
from vpr_ros.sensors.picture_doubts import doubt_sentences
from vpr_ros.sensors.poses.collectors import PoseTrack
from vpr_ros.sensors.stamps import nearest
from vpr_ros.sensors.upright import Mounting

Verdict = Literal["OK", "WARN", "ERROR"]
OK: Final = "OK"
WARN: Final = "WARN"
ERROR: Final = "ERROR"
Problem = tuple[Verdict, str]  # its severity and its sentence


@dataclass
class StageVerdict:
    """One stage: OK, WARN (works with less) or ERROR (has no usable input), and a sentence why and what to do."""

    stage: str
    verdict: Verdict
    sentence: str
    topic: str | None = None


def _worst(stage: str, topic: str | None, good: str, problems: list[Problem]) -> StageVerdict:
    """The most severe problem's sentence, followed by the others; `good` when there is none."""
    if not problems:
        return StageVerdict(stage, OK, good, topic)
    problems = sorted(problems, key=lambda p: p[0] != ERROR)
    return StageVerdict(stage, problems[0][0], "; ".join(sentence for _, sentence in problems), topic)


def recording_stage(losses: list[str]) -> StageVerdict:
    """The files of the bag: whole, or read as far as they are."""
    return _worst("recording", None, "the files are whole", [(WARN, loss) for loss in losses])


def told(verdict: StageVerdict, notes: list[str]) -> StageVerdict:
    """The verdict with what is to be told whether or not something is wrong."""
    return replace(verdict, sentence="; ".join([verdict.sentence, *notes]))


def image_stage(image: TopicScan | None, failed: str | None) -> StageVerdict:
    """Images: whether they decode, their stamps, their rate and their gaps."""
    if image is None:
        return StageVerdict("image", ERROR, failed or "no camera images")
    problems: list[Problem] = []
    if image.unusable:
        usable = image.sampled - image.unusable
        problems.append(
            (
                WARN if usable else ERROR,
                f"{image.unusable} of {image.sampled} sampled images are unusable: {image.first_error}",
            )
        )
    for useless, sentence in doubt_sentences(image.doubts, image.sampled, image.unusable):
        problems.append((ERROR if useless else WARN, sentence))
    if image.order == "all zero":
        problems.append((WARN, "header stamps are all zero, receive times stand in; let the camera driver set them"))
    elif image.order != "in order":
        problems.append((WARN, f"stamps are not in order ({image.order}); repeated and earlier ones are skipped"))
    if image.count > 1 and image.rate_hz < 0.5:
        problems.append((WARN, f"only {image.rate_hz:.2g} images per second; record at 1 Hz or more"))
    if image.max_gap_s > max(2.0, 10 * image.median_dt_s):
        problems.append((WARN, f"images stop for {image.max_gap_s:.1f} s; a map misses what was passed meanwhile"))
    good = f"{image.count} images on {image.name} at {image.rate_hz:.1f} Hz, {image.detail}"
    verdict = _worst("image", image.name, good, problems)
    return told(verdict, [f"taken: {good}"] if problems else [])


_WITHOUT: Final[dict[TrackStage, str]] = {
    "odometry": "no nav_msgs/Odometry topic and no odom -> base TF: matching works without, but keyframes are chosen "
    "by novelty and the temporal filter knows no motion; record odometry to improve both",
    "pose": "no pose in the map frame (PoseStamped, NavSatFix or map -> base TF) is taken",
}
# What becomes of a map without poses in its frame: the mapper takes odometry for it while the map is empty.
_BY_ODOMETRY: Final = (
    "a new map takes this bag's odometry for its frame, drift included, and a map that has a frame keeps the drive "
    "without positions; `vpr_ros poses` sets better ones; localising needs none"
)
_BY_NOTHING: Final = (
    "a map made from this bag has no metric positions until `vpr_ros poses` adds them; localising needs none"
)


def track_stage(
    stage: TrackStage,
    topic: str | None,
    failed: str | None,
    image: TopicScan | None,
    sources: PoseSources,
    config: DriveConfig,
    left: list[str],
) -> StageVerdict:
    """Odometry or poses: whether any is usable, the share of the images that it covers, and what is `left` out."""
    if failed:
        return StageVerdict(stage, ERROR, failed)
    track, topic = sources.track(stage), None if stage in sources.by_tf else topic
    where = topic or "TF"
    if not len(track):
        if topic is None:
            without = [*sources.sentences(stage, wrong=True), _WITHOUT[stage], *left]
            if stage == "pose":
                without.append(_BY_ODOMETRY if len(sources.odom) else _BY_NOTHING)
            return StageVerdict(stage, WARN, "; ".join(without))
        reason = sources.first_errors.get("pose unusable", "it is empty, or its GNSS fixes never moved")
        return StageVerdict(stage, ERROR, f"no pose on {topic} is usable: {reason}", topic)
    problems: list[Problem] = []
    unusable = sources.rejected["pose unusable"]
    if unusable and topic:
        problems.append((WARN, f"{unusable} poses are unusable ({sources.first_errors['pose unusable']})"))
    if len(track.trajectories) > 1:
        problems.append((WARN, f"its clock jumped back {len(track.trajectories) - 1} times (a looped bag?)"))
    problems.extend((WARN, sentence) for sentence in sources.sentences(stage, wrong=True))
    if implausible := sources.rejected["GNSS fix implausible"] if stage == "pose" else 0:
        problems.append((WARN, f"{implausible} fixes are left out ({sources.first_errors['GNSS fix implausible']})"))
    good = f"{len(track)} poses on {where}"
    if image is not None and image.count:
        covered, offset_s = _coverage(track, image, config.max_gap_s)
        good += f" cover {covered:.0%} of the images"
        problems.extend((WARN, sentence) for sentence in clock_problems(sources, _clock(image), image.name, stage))
        if covered == 0:
            problems.append(
                (
                    ERROR,
                    f"{where} covers no image (it begins {offset_s:+.1f} s from the first image; poses "
                    f"over {config.max_gap_s:g} s apart are not bridged); synchronise the clocks",
                )
            )
        elif covered < 0.95:
            problems.append(
                (
                    WARN,
                    f"{where} covers only {covered:.0%} of the images; the others get no pose"
                    f"{_gaps(track, config.max_gap_s)}",
                )
            )
    return told(_worst(stage, topic, good, problems), sources.sentences(stage, wrong=False) + left)


def _clock(topic: TopicScan) -> Clock:
    return Clock.of(topic.stamps_ns, topic.bag_times_ns)


def _gaps(track: PoseTrack, max_gap_s: float) -> str:
    """What poses further apart than are bridged have to do with missing ones; empty where there are none."""
    gaps_s = np.concatenate([np.diff(t.stamps_ns) for t in track.trajectories] or [np.empty(0)]) * 1e-9
    wide = gaps_s[gaps_s > max_gap_s]
    if not len(wide):
        return ""
    return (
        f" ({len(wide)} gaps between poses are longer than --max-gap-s {max_gap_s:g}: {np.median(wide):.2g} s, the "
        f"longest {wide.max():.2g} s)"
    )


def _stamps(topic: TopicScan) -> np.ndarray:
    """Header stamps, or the receive times where the driver left the stamps at zero; nanoseconds."""
    return topic.stamps_ns if topic.stamps_ns.any() else topic.bag_times_ns


def _coverage(track: PoseTrack, image: TopicScan, max_gap_s: float) -> tuple[float, float]:
    """Share of images that get a pose, and the offset of the two clocks' beginnings in seconds."""
    stamps, found = _stamps(image), 0
    picks = np.unique(np.linspace(0, len(stamps) - 1, min(len(stamps), 500)).astype(int))
    for i in picks:
        trajectory = track.segment(int(image.bag_times_ns[i]))
        found += trajectory is not None and trajectory.at(int(stamps[i]), max_gap_s) is not None
    return found / len(picks), float(track.trajectories[0].stamps_ns[0] - stamps[0]) * 1e-9


def points_stage(
    points: TopicScan | None, failed: str | None, image: TopicScan | None, sources: PoseSources, config: DriveConfig
) -> StageVerdict:
    """Clouds: whether they decode, reach the base frame, and are near in time to the images."""
    if failed:
        return StageVerdict("points", WARN, f"clouds are left out: {failed}")
    if points is None:
        return StageVerdict("points", OK, "no clouds; a camera alone suffices, matches are then not verified by LiDAR")
    problems: list[Problem] = []
    if points.unusable:
        usable = points.sampled - points.unusable
        problems.append(
            (
                WARN if usable else ERROR,
                f"{points.unusable} of {points.sampled} sampled clouds are unusable: {points.first_error}",
            )
        )
    if points.frame_id != sources.base_frame:
        try:
            sources.tree.lookup(sources.base_frame, points.frame_id, int(points.stamps_ns[len(points.stamps_ns) // 2]))
        except VprError as error:
            problems.append(
                (
                    ERROR,
                    f"clouds in {points.frame_id} cannot be brought to {sources.base_frame}: {error}; "
                    "record /tf_static",
                )
            )
    if image is not None and image.count and len(points.stamps_ns):
        offset_ns = round(config.points_offset_s * 1e9)
        problems.extend(
            (WARN, sentence) for sentence in points_clock(_clock(points).moved(offset_ns), points.name, _clock(image))
        )
        clouds, stamps = np.sort(_stamps(points)) + offset_ns, _stamps(image)
        gaps = np.abs(clouds[nearest(stamps, clouds)[:, 0]] - stamps)
        near = float((gaps <= config.max_cloud_gap_s * 1e9).mean())
        if near < 0.5:
            problems.append((WARN, f"only {near:.0%} of the images have a cloud within {config.max_cloud_gap_s:g} s"))
    return _worst(
        "points",
        points.name,
        f"{points.count} clouds on {points.name} at {points.rate_hz:.1f} Hz, {points.detail}",
        problems,
    )


def tf_stage(bag: Bag, requested: DriveTopics, sources: PoseSources) -> StageVerdict:
    """TF: whether there is any, with the fixed mounts, and how many links are unusable."""
    present = [t for t in bag.topics if t.msgtype in TF_TYPES and t.count]
    if not present and not candidates(bag, "points"):
        return StageVerdict(
            "tf",
            OK,
            "no TF; it brings clouds, of which there are none, to the base frame, and tells how the camera is mounted",
        )
    if not present:
        return StageVerdict(
            "tf",
            WARN,
            "no TF: clouds in another frame than the base are left out; record /tf and "
            "/tf_static if they are to be used",
        )
    problems: list[Problem] = []
    if sources.tf.static is None:
        problems.append(
            (
                WARN,
                f"no messages on {requested.tf_static or '/tf_static'}: where the sensors sit is unknown; it is "
                "latched, so record from before the drivers start or with transient_local QoS",
            )
        )
    unusable = sources.rejected["TF link unusable"]
    if unusable:
        problems.append((WARN, f"{unusable} TF links hold NaN, a zero quaternion or name no frame"))
    problems.extend((WARN, sentence) for sentence in sources.sentences("tf", wrong=True))
    frames = ", ".join(sources.tree.frames[:12])
    verdict = _worst("tf", None, f"frames {frames or 'on moving links only'}", problems)
    return told(verdict, sources.sentences("tf", wrong=False))


def mounting_stage(mounting: Mounting) -> StageVerdict:
    """How the camera stands: what TF says of its roll, or the rotation that was told."""
    if mounting.reason == "no TF":
        advice = "look at one, or compare some with a map (--map)"
        return StageVerdict("mounting", OK, f"{mounting.sentence}; {advice}")
    return StageVerdict("mounting", WARN if mounting.unclear else OK, mounting.sentence)


def camera_info_stage(infos: list[TopicScan], image: TopicScan | None) -> StageVerdict:
    """Camera calibration: the CameraInfo that belongs to the image topic, or the first."""
    if not infos:
        return StageVerdict(
            "camera_info", OK, "no CameraInfo; place recognition needs none, patch verification and LiDAR projection do"
        )
    parent = (image.name if image else "").removesuffix("/compressed").rpartition("/")[0]
    info = next((i for i in infos if parent and i.name.startswith(parent)), infos[0])
    problems: list[Problem] = []
    if info.unusable:
        problems.append((WARN, f"{info.name} is unusable: {info.first_error}"))
    return _worst("camera_info", info.name, f"{info.count} messages on {info.name}, {info.detail}", problems)
