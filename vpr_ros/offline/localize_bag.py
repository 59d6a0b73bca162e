"""A bag against a map: the streaming loop behind `vpr_ros localize`."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from vpr_ros.configuration import RecognitionConfig
from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation.advice import advice
from vpr_ros.evaluation.matches import STATUSES, MatchRecord, RunInfo, match_writer, write_csv, write_run
from vpr_ros.evaluation.similarities import SIMILARITIES, SimilarityGatherer, write_similarities
from vpr_ros.observation import Observation
from vpr_ros.offline.loops import LoopFiles, LoopFrame, loop_frame, write_loops
from vpr_ros.offline.orientation import orientation_advice, orientation_of_bag
from vpr_ros.offline.stages import answered, batch_size_for
from vpr_ros.offline.verifying import verified_matches
from vpr_ros.place_map import PlaceMap, limits
from vpr_ros.place_map.describer import input_size_of
from vpr_ros.recognition.calibration import Source
from vpr_ros.runtime.health import Health, Stage
from vpr_ros.runtime.opening import Extractor, network_facts
from vpr_ros.runtime.parameters.values import changed
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PipelineConfig, Verify
from vpr_ros.sensors import Drive, DriveConfig, DriveTopics
from vpr_ros.sensors.upright import Mounting

FEW_ACCEPTED = 0.05  # of the frames: at this share and below, some are compared in all orientations


@dataclass(frozen=True)
class LocalizeBagConfig:
    """How a drive is localised. True poses are never read: the pose role stays empty unless it is named."""

    topics: DriveTopics = field(default_factory=lambda: DriveTopics(pose="none"))
    recognition: RecognitionConfig = field(default_factory=RecognitionConfig)
    batch_size: int = 0  # images per forward pass; 0: chosen by the device
    verify: Verify = "none"  # how the geometry of accepted matches is looked at
    local_features: str = PipelineConfig.local_features  # auto, xfeat, sift, none, or a file of XFeat's weights
    loops: bool = False  # also write accepted matches as loop closures: pairs of stamps and a pose graph
    only_stamps: frozenset[int] | None = None  # answer these frames only, as a robot that dropped the others did
    drive: DriveConfig = field(default_factory=DriveConfig)  # how the bag is read


@dataclass(frozen=True)
class LocalizeBagResult:
    """What a run answered and what it could not use."""

    frames: int
    counts: dict[str, int]  # by status
    seconds: float
    interrupted: bool
    skipped: dict[str, int]
    first_errors: dict[str, str]
    notes: dict[str, int]
    calibration: Source | None  # of the probabilities
    threshold: str | None  # what a wanted precision comes to, as a sentence; None where none was wanted
    verification: str | None  # a sentence about what was verified; None when not asked for
    mounting: Mounting  # by how much the pictures were turned and why
    features: str  # a sentence about the local features
    loops: LoopFiles | None = None  # None when not asked for
    hints: tuple[str, ...] = ()  # sentences on what to try after a run that accepted almost nothing, or everything

    @property
    def fps(self) -> float:
        """Answered frames per second, reading included."""
        return self.frames / max(self.seconds, 1e-9)


def read_stamps(path: str | Path) -> frozenset[int]:
    """Image stamps in nanoseconds, one per line; # begins a comment. Raises VprError naming the bad line."""
    stamps = set()
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VprError(f"the list of stamps '{path}' cannot be read ({error}).") from None
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        if not text.isdigit():
            raise VprError(f"'{path}' line {number} is not a stamp in nanoseconds: {text!r}.")
        stamps.add(int(text))
    if not stamps:
        raise VprError(f"'{path}' lists no stamps.")
    return frozenset(stamps)


def localize_bag(
    bag: str | Path,
    map_path: str | Path,
    out: str | Path,
    extractor: Extractor,
    config: LocalizeBagConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LocalizeBagResult:
    """Answer every frame of a bag from a map; writes matches.jsonl, matches.csv and run.json into the folder `out`.

    Each answer stands in matches.jsonl as soon as it is given, and run.json says `interrupted` until the bag is read to
    its end: what a killed run leaves is read as any other. For the report, similarities.npz has how similar an even
    sample of the frames was to the map's keyframes. With `verify`, what the geometry says of accepted matches is
    written to loop_closures.jsonl, and the poses that it measured in the map to poses.txt; with `loops` they are
    written as `write_loops` does. Frames that cannot be used are counted, never fatal. KeyboardInterrupt ends the run
    early and keeps the answers given (`interrupted`). Raises VprError for a map of another model, a bag without usable
    images, a verification without anything to compare, and where nothing can be written.
    """
    config, out = config or LocalizeBagConfig(), Path(out)
    records: list[MatchRecord] = []
    loops: list[LoopFrame] = []
    gatherer, similar = SimilarityGatherer(), None
    skipped, errors, interrupted = Counter[str](), dict[str, str](), False
    pipeline_config = PipelineConfig(
        map_path=map_path,
        mode="localize",
        recognition=config.recognition,
        local_features=config.local_features,
        verify=config.verify,
    )
    lidar = config.verify in ("lidar", "auto")
    reading = replace(config.drive, load_clouds=lidar, least=input_size_of(extractor))
    with ExitStack() as stack:
        unhurried = replace(pipeline_config, local_budget_s=0.0)  # as long as it takes, so that answers repeat
        pipeline = stack.enter_context(Pipeline.open(unhurried, Health(), extractor))
        drive = stack.enter_context(Drive(bag, config.topics, reading))
        if config.verify == "lidar" and drive.topics.points is None:
            raise VprError(
                f"there is nothing to verify with: bag {bag} has no LiDAR topic; leave verification out, or name the "
                "topic with --points-topic."
            )
        pipeline.require_verifiable()
        run = RunInfo(
            map=str(Path(map_path).absolute()),
            map_id=pipeline.place_map.map_id,
            bag=str(Path(bag).absolute()),
            checkpoint=extractor.name,
            fingerprint=extractor.fingerprint,
            config={"topics": asdict(drive.topics), "recognition": asdict(config.recognition)},
            extra={
                "parameters": changed(pipeline_config, config.drive),
                "network": network_facts(extractor),
                "calibration": pipeline.calibration,
                "accepted_from": _accepted_from(pipeline),
                "rotation": drive.mounting.rotation,
                "interrupted": True,
            },
        )
        write_run(out / "run.json", run)
        started, size = time.monotonic(), batch_size_for(extractor, config.batch_size)
        with match_writer(out / "matches.jsonl") as writer, verified_matches(out, config.verify != "none") as closures:
            try:
                with answered(pipeline, _chosen(drive, config.only_stamps), size) as answers:
                    for answer in answers:
                        if isinstance(answer, FrameError):
                            skipped["frame unusable"] += 1
                            errors.setdefault("frame unusable", str(answer))
                            continue
                        if closures is not None:
                            answer = pipeline.verified(answer)
                            closures.write(answer, pipeline.T_map_query(answer))
                        assert answer.recognition is not None
                        if config.loops:
                            loops.append(loop_frame(answer))
                        records.append(MatchRecord.from_recognition(answer.recognition))
                        writer.write(records[-1])
                        if pipeline.recogniser is not None:
                            gatherer.add(pipeline.recogniser.searched)
                        if progress is not None:
                            progress(
                                len(records), len(drive) if config.only_stamps is None else len(config.only_stamps)
                            )
            except KeyboardInterrupt:
                interrupted = True
        seconds = time.monotonic() - started
        if pipeline.recogniser is not None:
            similar = gatherer.matrix(pipeline.recogniser.searched)
        counts = Counter(record.status for record in records)
        files = _loop_files(out, loops, pipeline) if config.loops else None
        result = LocalizeBagResult(
            len(records),
            {status: counts[status] for status in STATUSES},
            seconds,
            interrupted,
            dict(drive.skipped + skipped),
            {**drive.first_errors, **errors},
            dict(drive.notes),
            pipeline.calibration,
            _threshold(pipeline, drive.topics.odom is not None),
            closures.sentence(counts["accepted"]) if closures else None,
            drive.mounting,
            pipeline.features.sentence,
            files,
        )
        run = replace(
            run,
            counts=result.counts,
            skipped=result.skipped,
            fps=result.fps,
            extra={
                **run.extra,
                "drive_mean": _drive_mean(pipeline),
                "stages_ms": _stages(pipeline.health),
                **({"verified": closures.counts} if closures else {}),
                **({"loops": files.to_dict()} if files else {}),
                "notes": result.notes,
                "interrupted": interrupted,
            },
        )
    if config.only_stamps is not None and not records and not interrupted:
        raise VprError(f"bag {bag} has none of the {len(config.only_stamps)} stamps asked for.")
    write_run(out / "run.json", run)
    write_csv(out / "matches.csv", records)
    if similar is not None:
        write_similarities(out / SIMILARITIES, similar)
    with PlaceMap.open(map_path) as place_map:
        cannot = limits(place_map.keyframes())
    turn = "" if interrupted else _turn(bag, map_path, extractor, result, drive.topics.image, records)
    return replace(result, hints=(turn,) if turn else (*cannot, *advice(records, run)))


def _turn(
    bag: str | Path,
    map_path: str | Path,
    extractor: Extractor,
    result: LocalizeBagResult,
    topic: str | None,
    records: list[MatchRecord],
) -> str:
    """A sentence where almost nothing was accepted and the pictures match in another orientation; else empty."""
    if result.counts["accepted"] > FEW_ACCEPTED * len(records):
        return ""
    found = orientation_of_bag(bag, topic, [record.stamp_ns for record in records], map_path, extractor)
    return orientation_advice(found, result.mounting.rotation)


def _accepted_from(pipeline: Pipeline) -> dict[str, float]:
    """The probability from which on places were accepted, for frames without and with odometry."""
    recogniser = pipeline.recogniser
    if recogniser is None:
        return {}
    return dict(zip(("plain", "odometry"), recogniser.accept_probabilities, strict=True))


def _threshold(pipeline: Pipeline, with_odometry: bool) -> str | None:
    recogniser, precision = pipeline.recogniser, pipeline.config.recognition.decision.accept_precision
    if recogniser is None or precision is None:
        return None
    return recogniser.calibration.tuning(with_odometry).threshold(precision).sentence


def _loop_files(out: Path, frames: list[LoopFrame], pipeline: Pipeline) -> LoopFiles | None:
    recogniser = pipeline.recogniser
    return None if recogniser is None else write_loops(out, frames, pipeline.keyframes(), recogniser.topology.radius)


def _stages(health: Health) -> dict[str, list[float]]:
    """Milliseconds of each stage that was measured: its median and 95th percentile over the last frames."""
    timed = {stage: health.timing(stage) for stage in get_args(Stage)}
    return {stage: [round(1e3 * t.p50_s, 2), round(1e3 * t.p95_s, 2)] for stage, t in timed.items() if t is not None}


def _drive_mean(pipeline: Pipeline) -> dict[str, float] | Literal["off"]:
    """What the drive's queries were compared without at its end."""
    recogniser = pipeline.recogniser
    return "off" if recogniser is None or recogniser.drive_mean is None else recogniser.drive_mean.to_dict()


def _chosen(drive: Iterable[Observation], stamps: frozenset[int] | None) -> Iterator[Observation]:
    return iter(drive) if stamps is None else (o for o in drive if o.stamp_ns in stamps)
