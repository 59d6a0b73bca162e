"""Reports of runs: the pictures come from the bag and the map, the figures from the evaluation."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.atomic import whole_text
from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation.matches import RunInfo, read_matches, read_run
from vpr_ros.evaluation.report.run_report import ReportInput, write_report
from vpr_ros.evaluation.report.shots import ImageLike, small_jpeg
from vpr_ros.evaluation.similarities import SIMILARITIES, SimilarityMatrix, read_similarities
from vpr_ros.evaluation.verified import CLOSURES, read_verified
from vpr_ros.offline.evaluate_run import EvaluatedRun, map_of, require_map_of
from vpr_ros.place_map import Keyframes, PlaceMap
from vpr_ros.sensors import Bag, choose_topic, decode_image, stamp_ns
from vpr_ros.sensors.upright import rotation_of, turned


def write_run_report(out: str | Path, map_path: str | Path | None = None) -> Path:
    """report.html of a run that has no ground truth; returns its path.

    `map_path` stands in for the map that run.json names.
    """
    out = Path(out)
    run = read_run(out / "run.json")
    with PlaceMap.open(map_path or map_of(run, out)) as place_map:
        require_map_of(run, place_map, out)
        keyframes = place_map.keyframes()
        report = ReportInput(
            records=read_matches(out / "matches.jsonl"),
            run=run,
            keyframe_ids=keyframes.ids,
            keyframe_xy=positions(keyframes),
            query_images=bag_images(bag_of(run, out), _image_topic(run.config), _shown(run)),
            keyframe_image=_thumbnails(place_map),
            similarities=_similarities(out, keyframes),
            verified=read_verified(out / CLOSURES),
        )
        write_report(out / "report.html", report)
    return out / "report.html"


def write_evaluation(
    out: str | Path,
    evaluated: EvaluatedRun,
    map_path: str | Path | None = None,
    bag: str | Path | None = None,
    **extra: Any,
) -> Path:
    """eval.json and report.html of a run with its truth; returns the report's path.

    `map_path` and `bag` stand in for those that run.json names; `extra` goes to ReportInput (tables, title, ...).
    """
    out = Path(out)
    with whole_text(out / "eval.json") as stream:
        facts = {"rule": evaluated.truth.rule, "drive_mean": evaluated.run.extra.get("drive_mean", "off")}
        figures = {**evaluated.evaluation.to_dict(), "margins": evaluated.margins.to_dict()}
        if evaluated.pose_errors is not None:
            figures["measured_poses"] = evaluated.pose_errors.to_dict()
        json.dump({**facts, **figures}, stream, indent=2)
    run = evaluated.run
    with PlaceMap.open(map_path or map_of(run, out)) as place_map:
        report = ReportInput(
            records=evaluated.records,
            run=run,
            truth=evaluated.truth,
            evaluation=evaluated.evaluation,
            keyframe_ids=evaluated.keyframes.ids,
            keyframe_xy=positions(evaluated.keyframes),
            query_images=bag_images(bag or bag_of(run, out), _image_topic(run.config), _shown(run)),
            keyframe_image=_thumbnails(place_map),
            similarities=_similarities(out, evaluated.keyframes),
            verified=evaluated.verified,
            pose_errors=evaluated.pose_errors,
            **extra,
        )
        write_report(out / "report.html", report)
    return out / "report.html"


def bag_of(run: RunInfo, out: Path) -> Path:
    """The bag that run.json names, also when it was moved together with the folder `out`."""
    named = Path(run.bag)
    beside = (named, out / named.name, out.parent / named.name)
    return next((path for path in beside if run.bag and path.exists()), named)


def positions(keyframes: Keyframes) -> np.ndarray | None:
    """Positions (N, 2) in metres for drawing: in the map frame, else by odometry, None without either."""
    for poses in (keyframes.T_map_base, keyframes.T_odom_base):
        if np.isfinite(poses[:, 0, 3]).any():
            return poses[:, :2, 3]
    return None


def bag_images(
    bag: str | Path, topic: str | None, prepare: Callable[[np.ndarray], ImageLike] = lambda image: image
) -> Callable[[Sequence[int]], Mapping[int, ImageLike]]:
    """A function that finds images by stamp in one pass over a bag; it finds none where the bag is gone.

    What it holds of each is what `prepare` makes of it.
    """

    def find(stamps: Sequence[int]) -> dict[int, ImageLike]:
        wanted, found = set(stamps), {}
        try:
            with Bag(bag) as opened:
                name = choose_topic(opened, "image", topic)
                for _, bag_time_ns, msg in opened.messages([name], on_error=lambda *_: None):
                    stamp = stamp_ns(msg) or bag_time_ns
                    if stamp in wanted and stamp not in found:
                        try:
                            found[stamp] = prepare(decode_image(msg))
                        except FrameError:
                            continue
        except VprError:
            return found  # a report without pictures is better than none
        return found

    return find


def _thumbnails(place_map: PlaceMap) -> Callable[[int], bytes | None]:
    """The pictures of keyframes; a damaged one is left out, as one that is not there."""

    def find(keyframe_id: int) -> bytes | None:
        try:
            return place_map.thumbnail(keyframe_id)
        except VprError:
            return None

    return find


def _similarities(out: Path, keyframes: Keyframes) -> SimilarityMatrix | None:
    """The run's matrix; None where it has none or the map has other keyframes by now."""
    matrix = read_similarities(out / SIMILARITIES)
    return matrix if matrix is not None and matrix.keyframes == len(keyframes) else None


def _shown(run: RunInfo) -> Callable[[np.ndarray], ImageLike]:
    """A picture of the bag, small and upright as the run had it; runs of older versions turned none."""
    rotation = rotation_of(run.extra.get("rotation"))
    return lambda image: small_jpeg(turned(image, rotation))


def _image_topic(config: Mapping[str, Any]) -> str | None:
    topics = config.get("topics")
    return topics.get("image") if isinstance(topics, dict) else None
