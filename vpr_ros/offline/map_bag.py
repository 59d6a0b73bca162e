"""A bag into a map: the streaming loop behind `vpr_ros map`."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vpr_ros.errors import FrameError, VprError
from vpr_ros.offline.batches import batch_size_for, batches
from vpr_ros.place_map import GateConfig, PlaceMap
from vpr_ros.recognition import Mapper, MapperConfig
from vpr_ros.runtime.settings import PLACE_RADIUS_FRAMES, PLACE_RADIUS_M
from vpr_ros.sensors import Drive, DriveConfig, DriveTopics


@dataclass(frozen=True)
class MapBagConfig:
    """How a drive is mapped."""

    topics: DriveTopics = field(default_factory=DriveTopics)
    gate: GateConfig = field(default_factory=GateConfig)
    session: str = ""  # name of the drive in the map; empty: the bag's
    clouds: bool = False  # keep the LiDAR cloud of each keyframe
    place_radius: float | None = None  # of a new map: metres, or frames where the drive has no poses
    batch_size: int = 0  # images per forward pass; 0: chosen by the device


@dataclass(frozen=True)
class MapBagResult:
    """What a run wrote and what it could not use."""

    session: int | None  # None where no frame became a keyframe
    keyframes: int  # durable
    frames: int
    seconds: float
    interrupted: bool
    skipped: dict[str, int]
    first_errors: dict[str, str]
    notes: dict[str, int]
    reasons: dict[str, int]  # why frames became keyframes or did not

    @property
    def fps(self) -> float:
        """Frames per second, reading and writing included."""
        return self.frames / max(self.seconds, 1e-9)


def map_bag(
    bag: str | Path,
    map_path: str | Path,
    extractor,
    config: MapBagConfig | None = None,
    progress: Callable[[int], None] | None = None,
    on_saved: Callable[[list[int]], None] | None = None,
) -> MapBagResult:
    """Map a bag into `map_path`: a new map, or one more session of an existing one.

    Frames that cannot be used are counted, never fatal. KeyboardInterrupt ends the drive early and keeps what was
    mapped (`interrupted`). `progress` is told the number of frames so far, `on_saved` the ids of each durable commit.
    Raises VprError for a bag without usable images, a map of another model, and where nothing can be written; a map
    that this call created is then removed again unless it has keyframes.
    """
    config, map_path = config or MapBagConfig(), Path(map_path)
    started, reasons, skipped, errors = time.monotonic(), Counter(), Counter(), {}
    saved: list[int] = []
    frames, interrupted = 0, False

    def count(ids: list[int]) -> None:
        saved.extend(ids)
        if on_saved is not None:
            on_saved(ids)

    with _opened(bag, map_path, extractor, config) as (drive, place_map):
        place_map.on_saved = count
        name, source = config.session or Path(bag).stem, str(Path(bag).absolute())
        mapper = Mapper(extractor, place_map, name, MapperConfig(gate=config.gate), source=source)
        try:
            for batch in batches(drive, batch_size_for(extractor, config.batch_size)):
                for result in mapper.process_batch(batch):
                    frames += 1
                    if isinstance(result, FrameError):
                        skipped["frame unusable"] += 1
                        errors.setdefault("frame unusable", str(result))
                    else:
                        reasons[result.reason] += 1
                place_map.commit_if_due()
                if progress is not None:
                    progress(frames)
        except KeyboardInterrupt:
            interrupted = True
        place_map.flush()
        return MapBagResult(
            mapper.session,
            len(saved),
            frames,
            time.monotonic() - started,
            interrupted,
            dict(drive.skipped + skipped),
            {**drive.first_errors, **errors},
            dict(drive.notes),
            dict(reasons),
        )


@contextmanager
def _opened(bag, map_path: Path, extractor, config: MapBagConfig) -> Iterator[tuple[Drive, PlaceMap]]:
    """The drive, and the map to write to; a new map disappears again when the run fails without a keyframe."""
    if map_path.exists():
        opened = PlaceMap.open(
            map_path, fingerprint=extractor.fingerprint, dim=extractor.dim, model_name=extractor.name, writable=True
        )
        with opened as place_map:
            drive_config = DriveConfig(load_clouds=config.clouds, datum=place_map.datum)
            with Drive(bag, config.topics, drive_config) as drive:
                if place_map.datum is None and drive.datum is not None and not place_map.has_poses:
                    place_map.set_datum(drive.datum)
                yield drive, place_map
        return
    with Drive(bag, config.topics, DriveConfig(load_clouds=config.clouds)) as drive:
        has_poses = len(drive.poses.pose) or len(drive.poses.odom)
        place_map = PlaceMap.create(
            map_path,
            fingerprint=extractor.fingerprint,
            dim=extractor.dim,
            preprocessing=extractor.preprocessing,
            place_radius_m=config.place_radius or (PLACE_RADIUS_M if has_poses else PLACE_RADIUS_FRAMES),
            datum=drive.datum,
            model_name=extractor.name,
        )
        try:
            with place_map:
                yield drive, place_map
        except VprError:
            if not place_map.saved_up_to():
                map_path.unlink(missing_ok=True)
            raise
