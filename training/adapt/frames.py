"""Own bags as frames: what the streets of each are known by, and a training set that an interrupted reading adds to."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vpr_ros.atomic import write_whole
from vpr_ros.errors import VprError
from vpr_ros.offline.crossing.of_set import pairs_of_set
from vpr_ros.plain_files import parse_json
from vpr_ros.sensors.bags.config import DriveConfig, DriveTopics
from vpr_ros.training.adapt.places import PlaceSize
from vpr_ros.training.adapt.stages import Stage
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training_set.format import META
from vpr_ros.training_set.pairs import write_pairs
from vpr_ros.training_set.reader import read_frame_table
from vpr_ros.training_set.removal import keep_drives

Pairs = Literal["auto", "poses", "lidar"]  # by what frames of two drives are known to show one place
STATE = "frames.json"
ONE_DRIVE = (
    "there is one drive, {}: what a place looks like at another time is learned from drives through the same streets "
    "at two times or more."
)


@dataclass(frozen=True)
class FramesFromBags:
    """How bags are read, and by what their frames are paired."""

    topics: DriveTopics = field(default_factory=DriveTopics)
    reading: DriveConfig = field(default_factory=DriveConfig)
    size: PlaceSize = field(default_factory=PlaceSize)
    pairs: Pairs = "auto"


def pairs_of(text: str) -> Pairs:
    """The text itself; VprError where it is none of them."""
    for pairs in get_args(Pairs):
        if text == pairs:
            return pairs
    raise VprError(f"pairs are by '{text}': choose {', '.join(get_args(Pairs))}.")


def is_set(path: Path) -> bool:
    """Whether a path is a training set, not a bag."""
    return (path / META).is_file()


def own_samples(drives: Sequence[Path], work: Path, config: FramesFromBags, stage: Stage) -> TrainingSetSamples:
    """The frames of bags and of training sets together; VprError as `read_bags`, and for drives of one name."""
    if len({path.resolve() for path in drives}) == 1 and not is_set(drives[0]):
        raise VprError(ONE_DRIVE.format(drives[0].stem))
    folders = [path for path in drives if is_set(path)]
    if bags := [path for path in drives if not is_set(path)]:
        folders.append(read_bags(bags, work, config, stage))
    samples = TrainingSetSamples(*folders, name="the drives")
    named = np.unique(np.column_stack([samples.table.folders.astype(str), samples.drives]), axis=0)
    names, counts = np.unique(named[:, 1], return_counts=True)
    if (counts > 1).any():
        raise VprError(
            f"two of the training sets have a drive '{names[counts > 1][0]}': drives need names of their own."
        )
    return samples


def read_bags(bags: Sequence[Path], work: Path, config: FramesFromBags, stage: Stage) -> Path:
    """The frames of bags as a training set in `work`; bags that it has already are not read again.

    A drive has poses in the map frame, or else clouds by which its frames are paired with those of others. VprError for
    a bag with neither, for a bag that cannot be read, and for a folder whose frames were read in another way.
    """
    from vpr_ros.offline.record_bag import FramesConfig, bag_to_frames

    folder, state = work / "frames", work / STATE
    by_lidar = _paired_by_lidar(bags, config)
    how = _plain(config) | {"clouds": by_lidar}
    done: dict[str, list[str]] = {}
    paired: list[str] = []
    if state.is_file():
        stored = parse_json(state.read_text(encoding="utf-8"))
        if stored["how"] != how:
            raise VprError(f"the frames in {work} were read with other options: name another folder with --work")
        done, paired = stored["bags"], stored.get("paired", [])
    if folder.is_dir():
        keep_drives(folder, {name for names in done.values() for name in names})
    left_out = {"points": "none"} if not by_lidar else {"pose": "none"} if config.pairs == "lidar" else {}
    frames = FramesConfig(
        topics=replace(config.topics, **left_out),
        spacing_m=config.size.spacing_m,
        require_cloud=by_lidar,
        reading=config.reading,
    )
    for bag in bags:
        source = str(bag.absolute())
        if source in done:
            continue
        with stage(f"reading {bag.name}", None) as progress:
            read = bag_to_frames(bag, folder, frames, progress)
        if read.interrupted:
            raise KeyboardInterrupt
        done[source] = list(read.drives)
        write_whole(state, json.dumps({"how": how, "bags": done}, indent=1))
    if by_lidar and paired != sorted(done):
        _pair_by_lidar(folder, stage)
        write_whole(state, json.dumps({"how": how, "bags": done, "paired": sorted(done)}, indent=1))
    return folder


def _pair_by_lidar(folder: Path, stage: Stage) -> None:
    """Find out by their clouds which frames of the set's drives show one place."""
    with stage("registrations", None) as progress:
        found = pairs_of_set(read_frame_table(folder), progress=progress)
    write_pairs(folder, [one.pairs for one in found])


def _paired_by_lidar(bags: Sequence[Path], config: FramesFromBags) -> bool:
    """Whether the clouds are needed; VprError where a bag lacks what pairs its frames with those of others."""
    from vpr_ros.sensors import Drive

    posed: list[bool] = []
    for bag in bags:
        with Drive(bag, config.topics, config.reading, load_clouds=config.pairs != "poses") as drive:
            posed.append(len(drive.poses.pose) > 0)
            clouds = drive.topics.points is not None
        if config.pairs == "poses" and not posed[-1]:
            raise VprError(
                f"bag {bag} has no poses in the map frame (a pose topic, satellite fixes or TF): name the topic with "
                "--pose-topic, or pair the drives by their LiDAR clouds with --pairs lidar."
            )
        if config.pairs == "lidar" and not clouds:
            raise VprError(f"bag {bag} has no LiDAR clouds in use: --pairs lidar needs them in every bag.")
        if not posed[-1] and not clouds:
            raise VprError(
                f"bag {bag} does not tell which of its pictures show a place of the other drives: record poses in one "
                "map frame (a localisation or satellite fixes; --pose-topic names the topic), or LiDAR clouds."
            )
    return config.pairs == "lidar" or (config.pairs == "auto" and not all(posed))


def _plain(config: FramesFromBags) -> dict:
    return json.loads(json.dumps(dataclasses.asdict(config)))
