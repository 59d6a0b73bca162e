"""What a labelled drive shows of a calibration, as pictures: reliability, and precision against recall."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vpr_ros.atomic import write_whole
from vpr_ros.calibration.fitting import Reading
from vpr_ros.calibration.thresholds import Judged
from vpr_ros.evaluation.metrics import precision_recall, recall_at_precision, reliability
from vpr_ros.evaluation.report.curves import pr_plot, reliability_plot

NAMES: dict[Reading, str] = {"plain": "", "odometry": "_with_odometry"}


def write_pictures(folder: str | Path, judged: Mapping[Reading, Judged]) -> list[str]:
    """Write two PNG files for each reading into `folder`, which is made; returns their names.

    Queries off the map are among the answers: every place that is named for them is wrong.
    """
    folder, written = Path(folder), list[str]()
    for reading, one in judged.items():
        curve = precision_recall(np.where(one.acceptable, one.probabilities, np.nan), one.right, int(one.on_map.sum()))
        drawn = {
            "reliability": reliability_plot(reliability(one.probabilities, one.right)),
            "precision_recall": pr_plot(curve, None, recall_at_precision(curve)),
        }
        for name, picture in drawn.items():
            written.append(f"{name}{NAMES[reading]}.png")
            write_whole(folder / written[-1], picture.light)
    return written
