"""A bag into a map: the streaming loop behind `vpr_ros map`."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.observation import Observation
from vpr_ros.offline.describing import batch_size_for
from vpr_ros.place_map import GateConfig, KeyframeGate, PlaceMap
from vpr_ros.sensors import Drive, DriveConfig, DriveTopics

PLACE_RADIUS_M = 10.0
PLACE_RADIUS_FRAMES = 2.0
JPEG_QUALITY = 92


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

    session: int
    keyframes: int  # durable
    frames: int
    seconds: float
    interrupted: bool
    skipped: dict[str, int]
    first_errors: dict[str, str]
    notes: dict[str, int]
    gate_reasons: dict[str, int]  # why frames became keyframes or did not

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
    that this call created is then removed again.
    """
    config, map_path = config or MapBagConfig(), Path(map_path)
    started, skipped, errors = time.monotonic(), Counter(), {}
    saved, interrupted = 0, False
    with _opened(bag, map_path, extractor, config) as (drive, place_map):
        session = place_map.start_session(config.session or Path(bag).stem, str(Path(bag).absolute()))

        def count(ids: list[int]) -> None:
            nonlocal saved
            saved += len(ids)
            if on_saved is not None:
                on_saved(ids)

        place_map.on_saved = count
        mapper = _Gating(extractor, config, drive, progress, place_map.commit_if_due)
        try:
            for observation, descriptor in mapper:
                try:
                    place_map.add(
                        session,
                        observation.stamp_ns,
                        descriptor,
                        observation.T_odom_base,
                        observation.T_map_base,
                        observation.covariance,
                        thumbnail_of(extractor, observation.image),
                        observation.cloud,
                    )
                except FrameError as error:
                    skipped["keyframe unusable"] += 1
                    errors.setdefault("keyframe unusable", str(error))
        except KeyboardInterrupt:
            interrupted = True
        place_map.flush()
        return MapBagResult(
            session,
            saved,
            drive.delivered,
            time.monotonic() - started,
            interrupted,
            dict(drive.skipped + skipped),
            {**drive.first_errors, **errors},
            dict(drive.notes),
            dict(mapper.reasons),
        )


def thumbnail_of(extractor, image: np.ndarray) -> bytes:
    """JPEG of the image at the network's input size, from which a descriptor can be made again."""
    prepared = extractor.prepare(image)
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(prepared, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise FrameError("the thumbnail could not be encoded")
    return data.tobytes()


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
        radius = config.place_radius or (
            PLACE_RADIUS_M if len(drive.poses.pose) or len(drive.poses.odom) else PLACE_RADIUS_FRAMES
        )
        place_map = PlaceMap.create(
            map_path,
            fingerprint=extractor.fingerprint,
            dim=extractor.dim,
            preprocessing=extractor.preprocessing,
            place_radius_m=radius,
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


class _Gating:
    """Iterates over the frames that become keyframes, each with its descriptor; describes no more than it must."""

    def __init__(self, extractor, config: MapBagConfig, drive: Drive, progress, idle: Callable[[], None]):
        self.extractor, self.drive, self.progress, self.idle = extractor, drive, progress, idle
        self.gate = KeyframeGate(config.gate)
        self.batch_size = batch_size_for(extractor, config.batch_size)
        self.reasons: Counter[str] = Counter()

    def __iter__(self) -> Iterator[tuple[Observation, np.ndarray]]:
        stream = iter(self.drive)
        while chunk := list(islice(stream, self.batch_size)):
            seen = self._describe([o for o in chunk if self._judged_by_view(o)])
            kept = []
            for observation in chunk:
                keep, reason = self.gate.decide(observation, seen.get(observation.stamp_ns))
                self.reasons[reason] += 1
                if keep:
                    kept.append(observation)
            seen |= self._describe([o for o in kept if o.stamp_ns not in seen])
            yield from ((o, seen[o.stamp_ns]) for o in kept)
            self.idle()
            if self.progress is not None:
                self.progress(self.drive.delivered)

    def _judged_by_view(self, observation: Observation) -> bool:
        config = self.gate.config
        posed = observation.T_odom_base is not None or observation.T_map_base is not None
        return config.slip_similarity is not None or (config.every_n is None and not posed)

    def _describe(self, observations: list[Observation]) -> dict[int, np.ndarray]:
        if not observations:
            return {}
        descriptors = self.extractor.describe([o.image for o in observations])
        return {o.stamp_ns: d for o, d in zip(observations, descriptors, strict=True)}
