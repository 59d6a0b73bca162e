"""One's own bags as training data: the frames that the recorder node would keep of a drive, offline.

Camera, LiDAR and poses are read as `vpr_ros map` reads them, and the recorder's own rules decide what is kept, so that
a set made here and one recorded live are the same kind of set and may be one folder. A bag without poses, which no
recorder would take, gives every n-th of its frames.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from vpr_ros.errors import VprError
from vpr_ros.observation import Observation
from vpr_ros.plain_files import parse_json
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.recording import Recording
from vpr_ros.runtime.settings import RecordingConfig
from vpr_ros.sensors.bags.config import DriveConfig, DriveTopics
from vpr_ros.sensors.poses.trajectory import Trajectory
from vpr_ros.training_set.meta import PoseKind
from vpr_ros.training_set.origins import Origins
from vpr_ros.training_set.writer import TrainingSetWriter


@dataclass(frozen=True)
class FramesConfig(RecordingConfig):
    """How a bag becomes frames: what the recorder node keeps, and where it is read. An empty `drive` is the bag's name;
    `pose_source` follows from the bag."""

    topics: DriveTopics = field(default_factory=DriveTopics)
    trajectory: str = ""  # TUM file of the base's poses in the map frame, in place of the bag's
    reading: DriveConfig = field(default_factory=DriveConfig)  # how the bag is read


@dataclass(frozen=True)
class BagFrames:
    """What was kept of a bag, and why the rest was not."""

    drives: tuple[str, ...]  # names in the set; more than one where the bag's clock jumped back
    frames: int
    images: int  # that the bag delivered
    poses: PoseKind | None  # None where it never came out
    reasons: dict[str, int]  # what became of the images
    skipped: dict[str, int]  # what could not be used
    first_errors: dict[str, str]
    interrupted: bool
    notes: tuple[str, ...] = ()  # what is worth telling of the bag and of the trajectory


def bag_to_frames(
    bag, folder, config: FramesConfig | None = None, progress: Callable[[int, int], None] | None = None
) -> BagFrames:
    """Append the drive of a bag to the training set `folder`, which is made if it is missing.

    A bag without any poses gives frames without positions. KeyboardInterrupt ends the drive early and keeps what was
    written. Raises VprError for a bag that cannot be read or was put into this set before, where no frame was complete,
    and as `TrainingSetWriter` does.
    """
    from vpr_ros.sensors.bags.drive import Drive

    config, folder, source = config or FramesConfig(), Path(folder).expanduser(), str(Path(bag).absolute())
    given = Trajectory.from_tum(config.trajectory) if config.trajectory else None
    _not_there_yet(folder, source)
    origins, health, names = Origins(folder, config.city), Health(), []
    interrupted, frames, images = False, 0, 0
    stamps: list[int] = []
    drive_config = replace(config.reading, load_clouds=True, datum=origins.datum)
    with Drive(bag, config.topics, drive_config) as drive:
        if config.require_cloud and drive.topics.points is None:
            raise VprError(
                f"bag {bag} has no LiDAR (sensor_msgs PointCloud2) in use; say --no-require-cloud to take "
                "pictures alone"
            )
        if given is None and len(drive.poses.pose):
            origins.check(drive.datum)

        def begin() -> TrainingSetWriter:
            writer = TrainingSetWriter(
                folder,
                config.drive or Path(bag).stem,
                config.city,
                config.condition,
                config.jpeg_quality,
                config.max_width,
                source=source,
            )
            names.append(writer.drive)
            return writer

        in_map, by_odometry = given is not None or len(drive.poses.pose) > 0, len(drive.poses.odom) > 0
        pose_source = "bag" if in_map else "none" if by_odometry else "no poses"
        recording = Recording(replace(config, pose_source=pose_source), begin, health)
        try:
            for observation in drive if given is None else _along(drive, given):
                images += 1
                stamps.append(observation.stamp_ns)
                frames += recording.take(observation)
                if frames == 1 and recording.poses == "map" and given is None:
                    origins.record(drive.datum)
                if progress:
                    progress(images, len(drive))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            recording.close()
    reasons, notes = health.counts("recording"), _gaps(stamps, given, config.reading.max_gap_s)
    if not frames and not interrupted:
        told = ", ".join([*(f"{count} times '{reason}'" for reason, count in reasons.items()), *notes])
        raise VprError(
            f"bag {bag}: none of its {images} images became a frame ({told}); look at it with 'vpr_ros doctor {bag}'"
        )
    return BagFrames(
        tuple(names),
        frames,
        images,
        recording.poses,
        reasons,
        dict(drive.skipped),
        dict(drive.first_errors),
        interrupted,
        (*drive.notes, *notes),
    )


def _along(drive, trajectory: Trajectory) -> Iterator[Observation]:
    """A drive's observations at the poses of a trajectory; without one where it does not cover the stamp."""
    for observation in drive:
        pose = trajectory.at(observation.stamp_ns, drive.config.max_gap_s)
        yield replace(observation, T_map_base=pose, covariance=None)


def _gaps(stamps_ns: list[int], trajectory: Trajectory | None, max_gap_s: float) -> list[str]:
    """A sentence on pictures that a given trajectory leaves without a pose because its poses are too far apart."""
    gaps_s = [gap for stamp in stamps_ns if trajectory is not None and (gap := trajectory.gap_s(stamp)) is not None]
    wide = [gap for gap in gaps_s if gap > max_gap_s]
    if not wide:
        return []
    return [
        f"{len(wide)} pictures lie in gaps of up to {max(wide):g} s between the poses of the trajectory, longer than "
        f"--max-gap-s {max_gap_s:g}"
    ]


def _not_there_yet(folder: Path, source: str) -> None:
    """VprError where a drive of the set came from this bag: the same frames twice would teach nothing but themselves.

    A folder of another kind is the writer's to refuse.
    """
    try:
        drives = parse_json((folder / "meta.json").read_text(encoding="utf-8"))["drives"]
        name = next((entry["name"] for entry in drives if entry["source"] == source), None)
    except (OSError, ValueError, KeyError, TypeError):
        return
    if name is not None:
        raise VprError(f"the training set {folder} has bag {source} already, as drive '{name}'; name another folder")
