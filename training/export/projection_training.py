"""Training of the compact projection: a linear layer that starts from the fitted one, on cached descriptors."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from vpr_ros.errors import VprError
from vpr_ros.student import Projection
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.data.sampling.masks import masks_by_place, masks_by_pose
from vpr_ros.training.data.sampling.places import PlaceBatchSampler
from vpr_ros.training.data.sampling.visits import PlaceVisits
from vpr_ros.training.losses import contrastive_loss

PLACES, IMAGES_PER_PLACE, CITIES_PER_BATCH = 32, 4, 4
POSITIVE_M, POSITIVE_RAD, NEGATIVE_M = 3.0, 0.5, 15.0
SAMPLED_RAD = 0.35  # largest difference of heading among the frames that are sampled for one place
CELL_M = 30.0  # frames are selected by squares of this side, so that a place keeps the frames of all drives
LEAST_FRAMES = 8000  # that are described for a trained projection; all frames of a smaller set
# Masks (B, B) of positive and of negative pairs among the rows (B,) of a batch.
Masks = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class ProjectionTraining:
    """Length and rate; well under a minute on a CPU, since the network itself does not run."""

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

    z = (d - mean) @ matrix, normalised to unit length as at runtime; the mean stays the fitted one, and the rate
    decays to zero along a half cosine. `batches` yields lists of rows. The result depends on the seed alone. VprError
    for descriptors of another length, and where no batch holds a pair of one place.
    """
    config = config or ProjectionTraining()
    if descriptors.ndim != 2 or descriptors.shape[1] != fitted.input_dim:
        raise VprError(f"the projection takes {fitted.input_dim} numbers, not descriptors {descriptors.shape}.")
    mean, matrix = torch.from_numpy(fitted.mean), torch.from_numpy(fitted.matrix)
    # entries of a whitened matrix have any scale and Adam's steps a fixed one: scaling makes the steps relative
    scale = matrix.square().mean().sqrt()
    weight = (matrix / scale).requires_grad_()
    optimiser = torch.optim.Adam([weight], lr=config.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    steps = 0
    for rows in batches:
        if steps == config.steps:
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
        steps += 1
    if not steps:
        raise VprError("the projection cannot be trained: no two training frames show one place; have it fitted.")
    return Projection(fitted.mean, (weight.detach() * scale).numpy().astype(np.float32), fitted.whiten)


def projection_rows(samples: SampleSet, least: int, seed: int = 0) -> np.ndarray:
    """Rows (N,) to train a projection on: all of a small set, else those of randomly chosen complete places.

    There are at least `least` and at least `LEAST_FRAMES` rows, or all; places of all areas are equally likely.
    """
    wanted = max(least, LEAST_FRAMES)
    if len(samples) <= wanted:
        return np.arange(len(samples))
    if samples.places is None:
        keys = samples.nearness.cells(CELL_M)
    else:
        keys = samples.places[:, None]
    _, cell_of, sizes = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    taken = order[: 1 + int(np.searchsorted(np.cumsum(sizes[order]), wanted))]
    return np.flatnonzero(np.isin(cell_of.ravel(), taken))


def place_batches(samples: SampleSet, config: ProjectionTraining) -> tuple[Iterable[list[int]], Masks]:
    """Batches of rows by places, and which of their pairs show one place.

    Places are the numbered ones of the set where it has them (GSV-Cities), else frames of several drives within a few
    metres. In a set without headings both directions of a street count as one place.
    """
    if samples.places is not None:
        places, visits = torch.from_numpy(samples.places), PlaceVisits(samples.places, samples.areas, PLACES)
        batches = (_rows(batch) for epoch in range(config.steps) for batch in _epoch(visits, epoch))
        return batches, lambda rows: masks_by_place(places[rows], rows)
    has_headings = samples.headings_rad is not None
    sampler = PlaceBatchSampler(
        samples,
        PLACES,
        IMAGES_PER_PLACE,
        config.steps,
        1,
        seed=config.seed,
        cities_per_batch=CITIES_PER_BATCH,
        positive_m=POSITIVE_M,
        positive_rad=SAMPLED_RAD if has_headings else None,
        negative_m=NEGATIVE_M,
    )

    def by_pose(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return masks_by_pose(
            samples.nearness.among(rows.numpy()),
            positive_m=POSITIVE_M * 1.5,
            positive_rad=POSITIVE_RAD,
            negative_m=NEGATIVE_M,
        )

    return (_rows(batch) for batch in sampler if batch), by_pose


def _epoch(visits: PlaceVisits, epoch: int) -> Iterable:
    visits.set_epoch(epoch)
    return visits


def _rows(batch: Iterable) -> list[int]:
    return [int(key[0]) for key in batch]
