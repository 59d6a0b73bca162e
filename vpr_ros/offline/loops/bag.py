"""A bag in slam mode, its loops, its pose graph and its straightened trajectory: what `vpr_ros loops` writes."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from vpr_ros.atomic import write_whole
from vpr_ros.errors import VprError
from vpr_ros.local_features.opening import kind_of
from vpr_ros.offline.loops.accuracy import TrueError, load_evo, true_error, true_poses
from vpr_ros.offline.loops.driving import Driven, drive_through
from vpr_ros.offline.loops.graph import Graph, build_graph
from vpr_ros.offline.loops.picture import draw_loops
from vpr_ros.offline.loops.straightening import Straightened, straighten, worth_a_vertex
from vpr_ros.offline.loops.writing import GRAPH, PAIRS, VERTICES, write_g2o, write_pairs, write_vertices
from vpr_ros.offline.stages import batch_size_for
from vpr_ros.offline.verifying import verified_matches
from vpr_ros.place_map.describer import input_size_of
from vpr_ros.runtime.answer import Answer
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.opening import DriveFacts, Extractor
from vpr_ros.runtime.parameters.values import changed
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PipelineConfig, Verify
from vpr_ros.sensors import Drive, DriveConfig, DriveTopics
from vpr_ros.sensors.upright import Mounting

BEFORE, AFTER, PICTURE, SUMMARY = "odometry.tum", "trajectory.tum", "loops.png", "loops.json"


@dataclass(frozen=True)
class LoopsConfig:
    """How a drive is mapped and its loops are found; `core` names the map."""

    core: PipelineConfig
    topics: DriveTopics = field(default_factory=lambda: DriveTopics(pose="none"))
    batch_size: int = 0  # images per forward pass; 0: chosen by the device
    truth_file: Path | None = None  # TUM; None: a topic of the bag
    truth_topic: str | None = None  # None: the one topic whose name says ground truth, if there is one
    drive: DriveConfig = field(default_factory=DriveConfig)  # how the bag is read


@dataclass(frozen=True)
class LoopsResult:
    """What a run found; `errors` are those of the trajectory before and after, None where no truth is known."""

    driven: Driven
    graph: Graph | None
    straightened: Straightened | None
    errors: tuple[TrueError, TrueError] | None
    hints: tuple[str, ...]  # sentences on what is missing
    skipped: dict[str, int]
    first_errors: dict[str, str]
    notes: dict[str, int]
    mounting: Mounting
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For loops.json."""
        drive, driven = self.straightened, self.driven
        out: dict[str, Any] = {
            "frames": len(driven.frames),
            "accepted": driven.accepted,
            "verifications": {"tried": driven.tried, "agreed": driven.agreed},
            "interrupted": driven.interrupted,
            "skipped": self.skipped,
            "seconds": round(self.seconds, 1),
        }
        if drive is not None:
            out["loops"] = {"measured": len(drive.loops), "trusted": int(drive.trusted.sum())}
            out["moved_at_most_m"] = drive.moved_m
        if self.errors is not None:
            before, after = ({"rmse": e.rmse_m, "median": e.median_m, "max": e.max_m} for e in self.errors)
            out["ate_m"] = {"poses": self.errors[0].poses, "before": before, "after": after}
        return out


def straighten_bag(
    bag: str | Path,
    out: Path,
    extractor: Extractor,
    config: LoopsConfig,
    progress: Callable[[int, int], None] | None = None,
) -> LoopsResult:
    """Map a bag while its places are recognised, verify what is, and straighten its odometry by that.

    `out` gets loops.txt (accepted matches), loop_closures.jsonl (verifications), loops.g2o with loops_vertices.csv
    (odometry and measured loops), odometry.tum and trajectory.tum (before and after, in the frame of the graph),
    loops.png and loops.json. What a match without measured pose says is in loops.txt alone: it would bend the graph.
    Without gtsam there is no trajectory. KeyboardInterrupt ends the drive early, and what was driven is straightened.
    Raises VprError for a bag without usable images or odometry, a map of another model, and a truth that cannot be
    read.
    """
    hints: list[str] = []
    started = time.monotonic()
    truth = true_poses(bag, config.truth_file, config.truth_topic)
    if truth is not None and (missing := _missing(load_evo)):
        if config.truth_file is not None or config.truth_topic is not None:
            raise VprError(missing)
        hints.append(missing)
        truth = None
    with (
        opened(Path(bag), extractor, config) as (drive, pipeline),
        verified_matches(out, True, poses=False) as closures,
    ):
        assert closures is not None
        total, done = len(drive), count(1)

        def seen(answer: Answer) -> None:
            closures.write(answer, None)
            if progress is not None:
                progress(next(done), total)

        size = batch_size_for(extractor, config.batch_size)
        driven = drive_through(pipeline, drive, pipeline.verified, size, seen)
        pipeline.save()
        keyframes, recogniser = pipeline.keyframes(), pipeline.recogniser
        radius = pipeline.place_map.place_radius_m if recogniser is None else recogniser.topology.radius
    write_pairs(out / PAIRS, driven.frames, keyframes)
    kept = [frame for frame in driven.frames if worth_a_vertex(frame)]
    graph, straightened, errors = build_graph(kept, keyframes, radius, places=False), None, None
    if graph is None:
        hints.append(_why_no_graph(driven, config.core.verify))
    else:
        write_g2o(out / GRAPH, graph)
        write_vertices(out / VERTICES, graph)
        try:
            straightened = straighten(driven.frames, graph)
        except VprError as error:
            hints.append(f"{str(error).rstrip('.')}; {GRAPH} is written, {AFTER} is not")
    if straightened is not None and graph is not None:
        straightened.before.to_tum(out / BEFORE)
        straightened.after.to_tum(out / AFTER)
        try:
            if truth is not None:
                errors = true_error(straightened.before, truth), true_error(straightened.after, truth)
        except VprError as error:
            hints.append(str(error))
        draw_loops(out / PICTURE, straightened, graph, truth, errors)
    result = LoopsResult(
        driven,
        graph,
        straightened,
        errors,
        tuple(hints),
        dict(drive.skipped + driven.skipped),
        {**drive.first_errors, **driven.first_errors},
        dict(drive.notes),
        drive.mounting,
        time.monotonic() - started,
    )
    facts = {"bag": str(Path(bag).absolute()), "map": str(Path(config.core.map_path).absolute())}
    facts |= {"checkpoint": extractor.name, "fingerprint": extractor.fingerprint}
    summary = {**facts, "parameters": changed(config.core, config.drive), **result.to_dict()}
    write_whole(out / SUMMARY, json.dumps(summary, indent=2) + "\n")
    return result


def _why_no_graph(driven: Driven, verify: Verify) -> str:
    if not driven.accepted:
        why = "no place was recognised: does the drive come back to where it was, looking the same way?"
    elif verify == "none":
        why = "nothing was verified, and a match alone has no measured pose"
    elif not driven.tried:
        why = f"none of the {driven.accepted} recognised places could be verified: nothing can be compared"
    else:
        why = f"none of the {driven.tried} verifications measured a pose"
    return f"no {GRAPH}: {why}"


def _missing(load: Callable[[], object]) -> str:
    """Why a library cannot be used; empty where it can."""
    try:
        load()
    except VprError as error:
        return str(error)
    return ""


@contextmanager
def opened(bag: Path, extractor: Extractor, config: LoopsConfig) -> Iterator[tuple[Drive, Pipeline]]:
    """The drive of a bag and the core that maps it and recognises it at once. Raises VprError without odometry."""
    core = replace(config.core, mode="slam", source=str(bag.absolute()), local_budget_s=0.0)
    core = replace(core, session=core.session or bag.stem)
    with ExitStack() as stack:
        clouds, depth = core.verify in ("lidar", "auto"), kind_of(core.local_features) is not None
        reading = replace(config.drive, load_clouds=clouds, load_depth=depth, least=input_size_of(extractor))
        drive = stack.enter_context(Drive(bag, config.topics, reading))
        if not len(drive.poses.odom):
            raise VprError(
                f"bag {bag} has no odometry, and a pose graph is made of it: name its topic with --odom-topic, or its "
                "frames with --odom-frame and --base-frame where TF has it."
            )
        pipeline = stack.enter_context(Pipeline.open(core, Health(), extractor, DriveFacts(None, True)))
        yield drive, pipeline
