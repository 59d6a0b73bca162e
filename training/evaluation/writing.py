"""An evaluation on disk: tables as CSV, everything as JSON, and a picture."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vpr_ros import __version__
from vpr_ros.atomic import whole_text, write_whole
from vpr_ros.evaluation.metrics import PrecisionRecall
from vpr_ros.evaluation.ranking import name_of
from vpr_ros.evaluation.report.condition_plots import conditions_picture
from vpr_ros.training.evaluation.evaluate import ModelEvaluation

CURVE_POINTS = 200  # of a precision-recall curve on disk


def write_evaluation(folder: str | Path, evaluation: ModelEvaluation) -> list[Path]:
    """Write `evaluation.json`, `conditions.csv`, `run_pairs.csv`, `precision_recall.csv` and `conditions.png`.

    Files of the same names are replaced, each as a whole. VprError where the folder cannot be written.
    """
    folder, recalls = Path(folder), evaluation.recalls
    header, conditions = evaluation.condition_table()
    curves = [
        [*names, *point]
        for names, group in recalls.by_condition().items()
        for point in reduced_curve(group.precision_recall())
    ]
    _csv(folder / "conditions.csv", header, conditions)
    _csv(folder / "run_pairs.csv", *recalls.table())
    _csv(
        folder / "precision_recall.csv",
        ["database condition", "query condition", "largest distance", "precision", "recall"],
        curves,
    )
    facts = {
        "vpr_ros": __version__,
        "model": evaluation.model,
        "data": evaluation.data,
        "protocol": evaluation.statement,
        "measure": name_of(recalls.measure),
        "AR@1": recalls.ar1,
        "AR@1%": recalls.ar1_percent,
        "AR@1 of drawn answers": recalls.chance,
        "AR@N": recalls.curve(),
        "areas": {area: {"AR@1": v, "AR@1%": recalls.per_area("1%")[area]} for area, v in recalls.per_area().items()},
        "conditions": [dict(zip(header, row, strict=True)) for row in conditions],
    }
    with whole_text(folder / "evaluation.json") as stream:
        json.dump(_plain(facts), stream, indent=1, allow_nan=False)
        stream.write("\n")
    title = f"{evaluation.model} on {evaluation.data}: AR@1 {recalls.ar1:.3f}, AR@1 % {recalls.ar1_percent:.3f}"
    write_whole(folder / "conditions.png", conditions_picture(recalls, title).light)
    names = ("evaluation.json", "conditions.csv", "run_pairs.csv", "precision_recall.csv", "conditions.png")
    return [folder / name for name in names]


def reduced_curve(curve: PrecisionRecall, most: int = CURVE_POINTS) -> list[tuple[float, float, float]]:
    """At most `most` points (largest accepted distance, precision, recall) of a curve, first and last among them."""
    if not len(curve.recall):
        return []
    rows = np.unique(np.linspace(0, len(curve.recall) - 1, min(most, len(curve.recall))).round().astype(int))
    return [(-float(curve.thresholds[i]), float(curve.precision[i]), float(curve.recall[i])) for i in rows]


def _csv(path: Path, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    with whole_text(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([[f"{v:.6g}" if isinstance(v, float) else v for v in row] for row in rows])


def _plain(value):
    """Values for JSON: NaN, the share of an empty set, becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and value != value else value
