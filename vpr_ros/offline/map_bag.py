"""A bag into a map: the streaming loop behind `vpr_ros map`."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from vpr_ros.configuration import GateConfig, RecognitionConfig
from vpr_ros.errors import FrameError, VprError
from vpr_ros.local_features.opening import kind_of
from vpr_ros.offline.stages import answered, batch_size_for
from vpr_ros.place_map.describer import input_size_of
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.opening import DriveFacts, Extractor
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors import Drive, DriveConfig, DriveTopics
from vpr_ros.sensors.upright import Mounting


@dataclass(frozen=True)
class MapBagConfig:
    """How a drive is mapped."""

    topics: DriveTopics = field(default_factory=DriveTopics)
    gate: GateConfig = field(default_factory=GateConfig)
    session: str = ""  # name of the drive in the map; empty: the bag's
    clouds: bool = False  # keep the LiDAR cloud of each keyframe
    place_radius: float | None = None  # of a new map: metres, or frames where the drive has no poses
    local_features: str = PipelineConfig.local_features  # auto, xfeat, sift, none, or a file of XFeat's weights
    batch_size: int = 0  # images per forward pass; 0: chosen by the device
    drive: DriveConfig = field(default_factory=DriveConfig)  # how the bag is read
    # Whether the first drive of a map brings it its frame: the origin of its poses, or its odometry where it has none.
    brings_frame: bool = True


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
    mounting: Mounting  # by how much the pictures were turned and why
    features: str  # a sentence about the local features

    @property
    def known(self) -> str:
        """A sentence on views that the map knew; empty where there were none."""
        count = self.reasons.get("known view", 0)
        return (
            f"{count} views more are answered by the map as it was: no keyframes of them (known lead)" if count else ""
        )

    @property
    def fps(self) -> float:
        """Frames per second, reading and writing included."""
        return self.frames / max(self.seconds, 1e-9)


def map_bag(
    bag: str | Path,
    map_path: str | Path,
    extractor: Extractor,
    config: MapBagConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MapBagResult:
    """Map a bag into `map_path`: a new map, or one more session of an existing one.

    Frames that cannot be used are counted, never fatal. KeyboardInterrupt ends the drive early and keeps what was
    mapped (`interrupted`). `progress` is called with the number of frames so far and in all. Raises VprError for a bag
    without usable images, a map of another model or frame, and where nothing can be written; a map that this call
    created is removed again unless it has keyframes.
    """
    config = config or MapBagConfig()
    reasons, skipped, errors = Counter[str](), Counter[str](), dict[str, str]()
    frames, interrupted, started = 0, False, time.monotonic()
    with _opened(Path(bag), Path(map_path), extractor, config) as (drive, pipeline):
        try:
            with answered(pipeline, drive, batch_size_for(extractor, config.batch_size)) as answers:
                for answer in answers:
                    frames += 1
                    if isinstance(answer, FrameError):
                        skipped["frame unusable"] += 1
                        errors.setdefault("frame unusable", str(answer))
                    elif answer.reason is not None:
                        reasons[answer.reason] += 1
                    pipeline.idle()
                    if progress is not None:
                        progress(frames, len(drive))
        except KeyboardInterrupt:
            interrupted = True
        pipeline.save()
        return MapBagResult(
            pipeline.session,
            pipeline.saved,
            frames,
            time.monotonic() - started,
            interrupted,
            dict(drive.skipped + skipped),
            {**drive.first_errors, **errors},
            dict(drive.notes),
            dict(reasons),
            drive.mounting,
            pipeline.features.sentence,
        )


@contextmanager
def _opened(bag: Path, map_path: Path, extractor: Extractor, config: MapBagConfig) -> Iterator[tuple[Drive, Pipeline]]:
    """The drive, and the pipeline that maps it; poses are in the frame of the map's origin where it has one."""
    pipeline_config = PipelineConfig(
        map_path=map_path,
        mode="map",
        gate=config.gate,
        recognition=RecognitionConfig(place_radius=config.place_radius),
        session=config.session or bag.stem,
        source=str(bag.absolute()),
        map_frame=config.drive.map_frame,
        local_features=config.local_features,
        keep_clouds=config.clouds,
        map_from_odometry=config.brings_frame,
    )
    depth = kind_of(config.local_features) is not None
    least = input_size_of(extractor)
    drive_config = replace(config.drive, load_clouds=config.clouds, load_depth=depth, least=least)
    with ExitStack() as stack:
        if map_path.exists():
            pipeline = stack.enter_context(Pipeline.open(pipeline_config, Health(), extractor))
            place_map = pipeline.place_map
            drive = stack.enter_context(Drive(bag, config.topics, replace(drive_config, datum=place_map.datum)))
            if place_map.datum is None and drive.datum is not None:
                if place_map.has_poses or not config.brings_frame:
                    raise VprError(
                        f"bag {bag} has its poses by satellite, and those of map {map_path} have no such origin: leave "
                        "them out with --pose-topic none, or map the bag by itself and bring both into one frame with "
                        "`vpr_ros align` and `vpr_ros poses`."
                    )
                place_map.set_datum(drive.datum)
        else:
            drive = stack.enter_context(Drive(bag, config.topics, drive_config))
            facts = DriveFacts(drive.datum, bool(len(drive.poses.pose) or len(drive.poses.odom)))
            pipeline = stack.enter_context(Pipeline.open(pipeline_config, Health(), extractor, facts))
        yield drive, pipeline
