"""The compact projection trained further: a linear layer from the fitted directions on, over cached descriptors."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR, Projection
from vpr_ros.training.data.datasets.gsv_cities import PlaceVisits
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.data.sampling.places import PlaceBatchSampler
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.evaluation.retrieval import describe_frames
from vpr_ros.training.losses import contrastive_loss, place_pairs
from vpr_ros.training_set.reader import FrameTable

PLACES, IMAGES_PER_PLACE, CITIES_PER_BATCH = 32, 4, 4
POSITIVE_M, POSITIVE_RAD, NEGATIVE_M = 3.0, 0.5, 15.0
CELL_M = 30.0  # frames are taken by squares of this side, so that a place keeps all its drives
LEAST_FRAMES = 8000  # described for a trained projection, where there are so many
# Masks (B, B) of positive and of negative pairs among the rows (B,) of a batch.
Masks = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class ProjectionTraining:
    """How long and how fast; well under a minute on a CPU, since the network itself does not run."""

    steps: int = 300
    rate: float = 0.001  # Adam's step as a share of the matrix's root mean square
    temperature: float = 0.07
    seed: int = 0


def train_projection(
    fitted: Projection,
    descriptors: np.ndarray,
    batches: Iterable[list[int]],
    masks: Masks,
    config: ProjectionTraining | None = None,
) -> Projection:
    """`fitted` after some hundred steps of contrastive learning on raw descriptors (N, K) of training frames.

    z = (d - mean) @ matrix, brought to unit length as the runtime does it; the mean stays the fitted one, and the rate
    falls to zero along a half cosine. `batches` yields lists of rows. One seed gives one result. VprError for
    descriptors of another length, and where no batch holds a pair of one place.
    """
    config = config or ProjectionTraining()
    if descriptors.ndim != 2 or descriptors.shape[1] != fitted.input_dim:
        raise VprError(f"the projection takes {fitted.input_dim} numbers, not descriptors {descriptors.shape}.")
    mean, matrix = torch.from_numpy(fitted.mean), torch.from_numpy(fitted.matrix)
    # a whitened matrix has entries of any size, and Adam's steps have one: so the steps are relative
    scale = matrix.square().mean().sqrt()
    weight = (matrix / scale).requires_grad_()
    optimiser = torch.optim.Adam([weight], lr=config.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    learnt = 0
    for rows in batches:
        if learnt == config.steps:
            break
        positives, negatives = masks(torch.tensor(rows))
        if not bool(positives.any()) or not bool(negatives.any()):
            continue
        centred = torch.from_numpy(descriptors[rows].astype(np.float32)) - mean
        z = torch.nn.functional.normalize(centred @ weight, dim=1)
        loss = contrastive_loss(z, positives, negatives, temperature=config.temperature)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        learnt += 1
    if not learnt:
        raise VprError("the projection cannot be trained: no two training frames show one place; have it fitted.")
    return Projection(fitted.mean, (weight.detach() * scale).numpy().astype(np.float32), fitted.whiten)


def pair_rows(frames: FrameTable | SampleSet, least: int, seed: int = 0) -> np.ndarray:
    """Rows to train a projection on: all, or whole places until there are enough of them, from every area alike."""
    wanted = max(least, LEAST_FRAMES)
    if len(frames) <= wanted:
        return np.arange(len(frames))
    columns = _columns(frames)
    if columns.places is None:
        cells = np.floor(columns.positions_m / CELL_M).astype(np.int64)
        keys = np.column_stack([np.unique(columns.areas, return_inverse=True)[1], cells])
    else:
        keys = np.asarray(columns.places)[:, None]
    _, cell_of, sizes = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    taken = order[: 1 + int(np.searchsorted(np.cumsum(sizes[order]), wanted))]
    return np.flatnonzero(np.isin(cell_of.ravel(), taken))


def place_batches(
    frames: FrameTable | SampleSet, rows: np.ndarray, config: ProjectionTraining
) -> tuple[Iterable[list[int]], Masks]:
    """Batches of places among `rows` (their indices count from 0), and which of their pairs show one place.

    Places are those of the set where it has some (GSV-Cities), else frames within a few metres of another drive.
    """
    columns = _columns(frames, rows)
    positions, areas = torch.from_numpy(columns.positions_m), torch.from_numpy(columns.area_numbers)
    headings = torch.from_numpy(columns.headings_rad)
    if columns.places is not None:
        places, visits = torch.from_numpy(columns.places), PlaceVisits(columns.places, columns.areas, PLACES)

        def by_place(of: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            same = places[of][:, None] == places[of][None]
            return same & ~torch.eye(len(of), dtype=torch.bool), ~same

        return (_rows(batch) for epoch in range(config.steps) for batch in _epoch(visits, epoch)), by_place
    sampler = PlaceBatchSampler(
        columns,
        PLACES,
        IMAGES_PER_PLACE,
        config.steps,
        1,
        seed=config.seed,
        cities_per_batch=CITIES_PER_BATCH,
        positive_m=POSITIVE_M,
        negative_m=NEGATIVE_M,
    )

    def by_pose(of: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return place_pairs(
            positions[of],
            headings[of],
            areas[of],
            positive_m=POSITIVE_M * 1.5,
            positive_rad=POSITIVE_RAD,
            negative_m=NEGATIVE_M,
        )

    return (_rows(batch) for batch in sampler if batch), by_pose


def describe(student: D2VPR, frames: FrameTable | SampleSet, rows: np.ndarray | None = None) -> np.ndarray:
    """Raw descriptors (N, K) float32 of a table's or a sample set's frames, of all or of `rows`, in that order."""
    if isinstance(frames, FrameTable):
        return describe_frames(student, frames if rows is None else frames.select(rows))[0]
    return embed(student, frames if rows is None else _Some(frames, rows))  # type: ignore[arg-type]


class _Some:
    """A few samples of a set, for `embed`."""

    def __init__(self, samples: SampleSet, rows: np.ndarray):
        self.samples, self.rows, self.name = samples, rows, samples.name

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int):
        return self.samples[int(self.rows[i])]


def _columns(frames: FrameTable | SampleSet, rows: np.ndarray | None = None) -> Any:
    """What batches are drawn by, of either kind of set."""
    chosen = np.arange(len(frames)) if rows is None else rows
    cities = np.asarray(frames.cities if isinstance(frames, FrameTable) else frames.areas)[chosen]
    places, headings = getattr(frames, "places", None), frames.headings_rad
    return SimpleNamespace(
        areas=cities,
        area_numbers=np.unique(cities, return_inverse=True)[1],
        drives=np.asarray(frames.drives)[chosen],
        positions_m=np.asarray(frames.positions_m)[chosen],
        # a set without headings cannot tell two directions of one street apart: all count as one
        headings_rad=np.zeros(len(chosen)) if headings is None else np.asarray(headings)[chosen],
        places=None if places is None else np.asarray(places)[chosen],
    )


def _epoch(visits: PlaceVisits, epoch: int) -> Iterable:
    visits.set_epoch(epoch)
    return visits


def _rows(batch: Iterable) -> list[int]:
    return [int(key[0]) for key in batch]
