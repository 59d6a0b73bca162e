"""What the tables on synthetic cities share: worlds, cached embeddings, recalls by city, cells of mean and spread."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vpr_ros.atomic import whole_file
from vpr_ros.evaluation.protocols.run_pairs import PairRecalls, run_pairs
from vpr_ros.evaluation.ranking import Measure
from vpr_ros.training.data.sample import SampleSet

IMAGE_SIZE = (72, 96)
RADIUS_M = 10.0
Figures = dict[str, dict[str, float]]  # figure -> city -> value


def render(world: Path, sets: dict[str, tuple], workers: int, **options) -> None:
    """The sets (name: seeds, drives per city, frames per drive, further settings), or what is missing; needs Open3D."""
    from vpr_ros.training.synthetic import render_training_set

    for name, (seeds, drives, frames, more) in sets.items():
        render_training_set(world / name, seeds, drives, frames, IMAGE_SIZE, True, workers, **options, **more)


def save(path: Path, embeddings: np.ndarray) -> None:
    """Write an .npy file, whole or not at all: a later call does not compute again what exists."""
    with whole_file(path) as draft, draft.open("wb") as stream:
        np.save(stream, embeddings)


def recalls(embeddings: np.ndarray, samples: SampleSet, measure: Measure) -> dict[str, PairRecalls]:
    """By city: its queries against whole runs, each a drive of the same number through all cities."""
    cities = sorted(set(samples.areas.tolist()))
    shift = np.searchsorted(cities, samples.areas) * 1e6  # metres between cities
    numbers = np.array([str(drive).split("-")[1] for drive in samples.drives])
    return {
        city: run_pairs(
            embeddings,
            samples.positions_m + np.column_stack([shift, np.zeros(len(shift))]),
            numbers,
            radius_m=RADIUS_M,
            conditions=samples.conditions,
            queries=samples.areas == city,
            measure=measure,
        )
        for city in cities
    }


def cells(found: Sequence[Figures], names: Sequence[str]) -> list[str]:
    """Per figure the mean over cities, then mean ± standard deviation over seeds; says where nothing was run."""
    if not found:
        return ["not run"] * len(names)
    shown = []
    for name in names:
        values = [float(np.mean(list(figures[name].values()))) for figures in found]
        spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
        shown.append(f"{np.mean(values):.3f}{spread}")
    return shown
