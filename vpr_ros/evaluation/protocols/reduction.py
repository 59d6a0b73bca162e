"""PCA for an evaluation, fitted on training images; it records these images, and testing on them is refused.

The published figures of METHODS §1.9 come from a PCA that was fitted on the test images too; such figures are too high,
and this module does not produce them.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vpr_ros.errors import VprError

if TYPE_CHECKING:
    from vpr_ros.student import AnyProjection, Projection

MOST_SAMPLES = 2**14  # of the published fit


@dataclass(frozen=True)
class TrainingDescriptors:
    """Raw descriptors (N, K) of training images, the set's name, and one key per image, which identifies it."""

    name: str
    descriptors: np.ndarray = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise VprError("the training set that a projection is fitted on must have a name.")
        if len(self.keys) != len(self.descriptors):
            raise VprError(f"{len(self.descriptors)} descriptors but {len(self.keys)} keys: one per image is needed.")


@dataclass(frozen=True)
class Reduction:
    """A projection together with what it was fitted on."""

    projection: "Projection"
    fitted_on: str
    seen: frozenset[str] = field(repr=False)

    def refuse(self, keys: Iterable[str], what: str) -> None:
        """VprError if any image of an evaluation, by its key, took part in the fit."""
        refuse_overlap(self.fitted_on, self.seen, keys, what)

    def __str__(self) -> str:
        return f"{self.projection}, fitted on {len(self.seen)} images of {self.fitted_on}"


def refuse_overlap(training: str, seen: Iterable[str], keys: Iterable[str], what: str) -> None:
    """VprError if images of the training set `training` (keys `seen`) are among those that `what` is tested on."""
    if shared := frozenset(seen).intersection(keys):
        raise VprError(
            f"the projection's training set {training} shares {len(shared)} images with {what}, which it is tested on: "
            "fit it on training images only."
        )


def fit_reduction(training: TrainingDescriptors, dim: int, whiten: float = 0.0) -> Reduction:
    """Fit on a training set; VprError as `fit_projection`, which needs four samples per dimension."""
    from vpr_ros.student import fit_projection  # torch is not needed to read a report

    projection = fit_projection(training.descriptors, dim, whiten)
    return Reduction(projection, training.name, frozenset(training.keys))


def sample_files(files: Sequence[Path], most: int = MOST_SAMPLES, seed: int = 0) -> list[Path]:
    """At most `most` files, drawn evenly by `seed`, in order."""
    rows = np.random.default_rng(seed).permutation(len(files))[:most]
    return [files[i] for i in sorted(rows)]


def content_keys(files: Sequence[Path]) -> tuple[str, ...]:
    """A key per file that copies, links and other names of the same image share: a digest of the bytes."""
    return tuple(hashlib.blake2b(_bytes(path), digest_size=16).hexdigest() for path in files)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise VprError(f"cannot read {path}: {error.strerror or error}.") from error


class ReducedExtractor:
    """Describes images by raw descriptors and a reduction; `renormalise` False leaves plain PCA scores (for L2).

    `describe_raw`: images -> (N, K) float32 as the network gives them.
    """

    def __init__(
        self,
        name: str,
        describe_raw: Callable[[Sequence[np.ndarray]], np.ndarray],
        reduction: Reduction | None = None,
        *,
        projection: "AnyProjection | None" = None,
        renormalise: bool = True,
    ):
        self.name, self.reduction, self.renormalise = name, reduction, renormalise
        self._raw, self._projection = describe_raw, reduction.projection if reduction else projection
        self.parts: tuple[int, ...] = ()

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(N, d) float32."""
        rows = np.asarray(self._raw(images), dtype=np.float32)
        if self._projection is not None:
            rows = self._projection.apply(rows, renormalise=self.renormalise)
        self.parts = (rows.shape[1],)  # one: what is reduced as a whole is compared as a whole
        return rows
