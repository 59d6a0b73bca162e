"""`vpr_ros demo`: two rendered drives, mapped and recognised with the same code that reads a robot's bags."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import Progress, say, table
from vpr_ros.cli.evaluating.run import show
from vpr_ros.cli.outcome.outputs import growing
from vpr_ros.errors import VprError
from vpr_ros.runtime.settings import PipelineConfig

TRUTH_TOPIC = "/ground_truth/pose"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(demo)


def demo(
    out: Annotated[Path, typer.Option(metavar="OUT", help="Folder for bags, map, run and report.")] = Path("demo_out"),
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    device: options.Device = options.DEVICE,
    workers: Annotated[int, typer.Option(min=1, help="Rendering processes.")] = 2,
    conditions: Annotated[bool, typer.Option(help="Also measure day, dusk, night and winter.")] = True,
    length_m: Annotated[float, typer.Option(min=60, help="Length of the mapped route.")] = 1100.0,
    offmap_m: Annotated[float, typer.Option(min=20, help="Length of the streets that the map lacks.")] = 1000.0,
    force: options.Force = False,
):
    """Render two drives of a city, map the first, recognise the second, write a report.

    No training has used the city. The first drive is a summer day; the second
    is an autumn evening that ends in streets the map does not have. The
    last line gives the figures as fractions.
    """
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError) as error:
        raise VprError(f"the demo renders with Open3D, which does not load ({error}): see `make`.") from None
    from vpr_ros.atomic import write_whole
    from vpr_ros.runtime.opening import load_extractor
    from vpr_ros.training.synthetic.demo import DemoConfig

    started = time.monotonic()
    config = DemoConfig(length_m=length_m, offmap_length_m=offmap_m, workers=workers)
    extractor = load_extractor(PipelineConfig(checkpoint=checkpoint, device=device))
    with growing(out, force, "town.vpr") as folder:
        evaluated, result, offmap = _main_job(folder, config, extractor)
        rows = _by_condition(folder, config, extractor) if conditions else []
        show(evaluated, "second drive against the map of the first")
        report = _write_report(folder, evaluated, rows)
        e = evaluated.evaluation
        figures = {
            "recall@1": e.recall[1],
            "recall@5": e.recall[5],
            "accepted_precision": e.accepted_precision,
            "offmap_false_accepts": e.offmap_false_accepts,
            "fps": result.fps,
        }
        counts = {"accepted": e.accepted - e.offmap_accepted, "queries": e.on_map, "offmap_frames": offmap}
        seconds = time.monotonic() - started
        facts = {**figures, **counts, "seconds": seconds, "checkpoint": extractor.name}
        facts |= {"margins": evaluated.margins.to_dict(), "conditions": rows}
        write_whole(folder / "demo.json", json.dumps(facts, indent=2))
    for row in rows:
        say(
            f"condition={row['condition']} camera={row['camera']} recall@1={row['recall@1']:.3f} "
            f"untrained={row['untrained']:.3f} pixels={row['pixels']:.3f} queries={row['queries']}"
        )
    say(f"report: {report} ({seconds:.0f} s)")
    for line in closing_lines(figures, counts):
        say(line)


def closing_lines(figures: dict[str, float], counts: dict[str, int]) -> tuple[str, str]:
    """The two last lines of the demo, for people and for scripts; a share of nothing is nan."""
    shown = (f"{name}={value:.1f}" if name == "fps" else f"{name}={value:.3f}" for name, value in figures.items())
    return " ".join(f"{name}={value}" for name, value in counts.items()), "demo: " + " ".join(shown)


def _main_job(folder: Path, config, extractor):
    """Bags, map, run and figures: the commands of the README, one after the other."""
    from vpr_ros.offline.evaluate_run import TruthConfig, evaluate_run
    from vpr_ros.offline.localize_bag import localize_bag
    from vpr_ros.offline.map_bag import map_bag
    from vpr_ros.training.synthetic.demo import map_drive, query_drive, write_bags

    drives = map_drive(config), query_drive(config)
    say(f"rendering {len(drives[0])} + {len(drives[1])} frames to bags ({folder / 'bags'})")
    with Progress("rendering", sum(map(len, drives))) as progress:
        first, second = write_bags(config, folder / "bags", progress)
    with Progress("mapping", len(drives[0])) as progress:
        mapped = map_bag(first, folder / "town.vpr", extractor, progress=progress)
    say(f"{folder / 'town.vpr'}: {mapped.keyframes} keyframes of {mapped.frames} frames, {mapped.fps:.1f} frames/s")
    run = folder / "run"
    run.mkdir()
    with Progress("localising", len(drives[1])) as progress:
        result = localize_bag(second, folder / "town.vpr", run, extractor, progress=progress)
    say(f"{run}: {result.frames} frames {result.counts}, {result.fps:.1f} frames/s")
    truth = TruthConfig(map_bags=(first,), query_bag=second, truth_topic=TRUTH_TOPIC)
    evaluated = evaluate_run(run, truth)
    return evaluated, result, int(evaluated.evaluation.off_map)


def _by_condition(folder: Path, config, extractor) -> list[dict]:
    """Single-frame recall@1 per condition and camera, beside an untrained copy and plain pixels."""
    import numpy as np

    from vpr_ros.evaluation.metrics import recall_at
    from vpr_ros.evaluation.protocols.folders import PixelBaseline, rank_by_similarity
    from vpr_ros.evaluation.truth import truth_from_poses
    from vpr_ros.offline.baselines import untrained_copy
    from vpr_ros.offline.evaluate_run import TruthConfig, true_keyframe_poses
    from vpr_ros.offline.map_images import map_images
    from vpr_ros.place_map import PlaceMap
    from vpr_ros.training.synthetic.demo import CAMERAS, CONDITIONS, condition_drive, render_conditions

    total = sum(len(condition_drive(config, c, k)) for c in CONDITIONS for k in CAMERAS)
    with Progress("conditions", total) as progress:
        rendered = render_conditions(config, progress)
    with PlaceMap.open(folder / "town.vpr") as place_map:
        keyframes = place_map.keyframes()
        sources = {session.id: session.source for session in place_map.sessions()}
        images = map_images(place_map, keyframes.ids)
    poses = true_keyframe_poses(keyframes, sources, (folder / "bags" / "first",), TRUTH_TOPIC, TruthConfig.max_gap_s)
    methods = {"recall@1": extractor, "untrained": untrained_copy(extractor), "pixels": PixelBaseline()}
    databases = {name: np.asarray(m.describe(images), np.float32) for name, m in methods.items()}
    rows = []
    for part in rendered:
        truth = truth_from_poses(part.T_map_base, np.arange(len(keyframes)), poses, TruthConfig.radius_m)
        row = {"condition": part.condition, "camera": part.camera, "queries": int(truth.on_map.sum())}
        for name, method in methods.items():
            queries = np.asarray(method.describe(part.images), np.float32)
            ranks = rank_by_similarity(queries, databases[name], truth.positives)
            row[name] = recall_at(ranks, (1,), truth.on_map)[1]
        rows.append(row)
    table(
        "recall@1 by condition",
        ["condition", "camera", "queries", "trained", "untrained copy", "pixels"],
        [(r["condition"], r["camera"], r["queries"], r["recall@1"], r["untrained"], r["pixels"]) for r in rows],
    )
    _write_picture(folder, config, rendered)
    return rows


def _write_picture(folder: Path, config, rendered) -> None:
    """places.jpg: five places as the first drive saw them, as the second did, at night, and in winter."""
    import numpy as np

    from vpr_ros import pictures
    from vpr_ros.atomic import write_whole
    from vpr_ros.offline.reporting import bag_images
    from vpr_ros.training.synthetic.demo import map_drive, places_picture, query_drive

    thinned = {part.condition: part.images for part in rendered if part.camera == "fixed"}
    picks = np.linspace(0.06, 0.94, 5) * (len(thinned["night"]) - 1)
    picks = picks.astype(int)
    rows = []
    for name, drive in (("first", map_drive(config)), ("second", query_drive(config))):
        stamps = [int(stamp) for stamp in drive.stamps_ns[picks * config.every_nth]]
        images = bag_images(folder / "bags" / name, None)(stamps)
        rows.append([images[stamp] for stamp in stamps])
    rows += [[thinned[name][i] for i in picks] for name in ("night", "winter")]
    write_whole(folder / "places.jpg", pictures.encode(places_picture(rows), quality=90))


def _beside_the_map(evaluated):
    """The run with its off-map streets moved next to the map: their true place would make the plot too large."""
    import numpy as np

    truth = evaluated.truth
    off, xy = truth.off_map, truth.query_xy.copy()
    if off.any():
        corner = np.array([np.nanmax(truth.keyframe_xy[:, 0]) + 150.0, np.nanmin(truth.keyframe_xy[:, 1])])
        xy[off] += corner - xy[off].min(axis=0)
    return dataclasses.replace(evaluated, truth=dataclasses.replace(truth, query_xy=xy))


def _write_report(folder: Path, evaluated, rows: list[dict]) -> Path:
    from vpr_ros.evaluation.report.page import Table
    from vpr_ros.offline.reporting import write_evaluation

    tables = []
    if rows:
        header = ("condition", "camera", "queries", "trained", "untrained copy", "pixels")
        cells = [
            tuple(r[k] for k in ("condition", "camera", "queries", "recall@1", "untrained", "pixels")) for r in rows
        ]
        tables = [
            Table(
                "Recall@1 by condition",
                header,
                cells,
                note="Single-frame retrieval against the summer map, on every n-th frame of the route.",
            )
        ]
    subtitle = "second → town.vpr; the streets outside the map are drawn to the right of it"
    drawn = _beside_the_map(evaluated)
    return write_evaluation(folder / "run", drawn, title="vpr_ros demo", subtitle=subtitle, tables=tables)
