"""Descriptors of several parts: each reduced for itself, then weighed against the others in one vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vpr_ros.errors import VprError
from vpr_ros.student.config import StudentConfig
from vpr_ros.student.projection import Projection, fit_projection


@dataclass(frozen=True)
class Part:
    """How one part of a raw descriptor, `length` numbers, is reduced; without either projection it stays as it is.

    `cells` is one projection shared by all regions: it reduces each of them alone, brought to unit length; then it gets
    back the length that it had. With `unit_cells` the reduced one is brought to unit length in between. `joint` reduces
    the whole, after that.
    """

    length: int
    cells: Projection | None = None
    joint: Projection | None = None
    unit_cells: bool = False

    def __post_init__(self) -> None:
        width = self.length
        if self.cells is not None:
            if self.length % self.cells.input_dim:
                raise VprError(f"a part of {self.length} numbers has no regions of {self.cells.input_dim} numbers.")
            width = self.length // self.cells.input_dim * self.cells.dim
        if self.joint is not None and self.joint.input_dim != width:
            raise VprError(f"the projection takes {self.joint.input_dim} numbers, this part has {width}.")

    def __str__(self) -> str:
        steps = [f"{self.cells} of each region"] if self.cells is not None else []
        steps += [str(self.joint)] if self.joint is not None else []
        return ", then ".join(steps) or f"{self.length} numbers as they are"

    @property
    def dim(self) -> int:
        """Numbers of the reduced part."""
        if self.joint is not None:
            return self.joint.dim
        return self.length if self.cells is None else self.length // self.cells.input_dim * self.cells.dim

    def apply(self, rows: np.ndarray, renormalise: bool = True) -> np.ndarray:
        """(N, length) of any length -> (N, dim) float32, unit rows unless `renormalise` is off."""
        rows = _unit(rows.astype(np.float32))
        if self.cells is not None:
            rows = _unit(reduce_cells(rows, self.cells, self.unit_cells))
        if self.joint is not None:
            return self.joint.apply(rows, renormalise)
        return rows


@dataclass(frozen=True)
class PartedProjection:
    """The parts of a descriptor in their order, and the share of each in an inner product; the shares sum to 1."""

    parts: tuple[Part, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.weights):
            raise VprError(f"a projection of {len(self.parts)} parts needs as many weights, not {len(self.weights)}.")

    def __str__(self) -> str:
        return " beside ".join(map(str, self.parts))

    @property
    def input_dim(self) -> int:
        """Length of the descriptors it takes."""
        return sum(part.length for part in self.parts)

    @property
    def dim(self) -> int:
        """Length of the descriptors it gives."""
        return sum(self.lengths)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of the parts that it gives."""
        return tuple(part.dim for part in self.parts)

    def apply(self, descriptors: np.ndarray, renormalise: bool = True) -> np.ndarray:
        """(N, input_dim) -> (N, dim) float32: parts of unit length, each times the root of its weight.

        So the rows have unit length, and an inner product is the weighted mean of the parts' cosines.
        `renormalise=False` leaves the parts the lengths that their projections give. VprError for another shape.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != self.input_dim:
            raise VprError(
                f"the projection takes descriptors of {self.input_dim} numbers, not shape {descriptors.shape}."
            )
        split = split_parts(descriptors, [part.length for part in self.parts])
        reduced = [
            part.apply(rows, renormalise) * np.float32(weight**0.5)
            for part, rows, weight in zip(self.parts, split, self.weights, strict=True)
        ]
        return np.concatenate(reduced, axis=1)


AnyProjection = Projection | PartedProjection


def lengths_of(config: StudentConfig, projection: AnyProjection | None) -> tuple[int, ...]:
    """Lengths of the parts of a student's descriptors; VprError for a projection that takes other ones."""
    if projection is None:
        return config.raw_parts
    takes = (
        (projection.input_dim,)
        if isinstance(projection, Projection)
        else tuple(part.length for part in projection.parts)
    )
    gives = (config.descriptor_dim,) if isinstance(projection, Projection) else config.raw_parts
    if takes != gives:
        said = [" and ".join(map(str, lengths)) for lengths in (takes, gives)]
        raise VprError(f"the projection takes {said[0]} numbers, the student gives {said[1]}.")
    return (projection.dim,) if isinstance(projection, Projection) else projection.lengths


def split_parts(rows: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    """(N, sum of lengths) -> the columns of each part."""
    return np.split(rows, np.cumsum(lengths)[:-1], axis=1)


def reduce_cells(rows: np.ndarray, shared: Projection, unit_cells: bool) -> np.ndarray:
    """(N, R * C) -> (N, R * c): every region of C numbers reduced alone, keeping its length as a factor."""
    cells = rows.reshape(-1, shared.input_dim)
    lengths = np.linalg.norm(cells, axis=1, keepdims=True)
    reduced = shared.apply(cells / np.maximum(lengths, 1e-12), renormalise=unit_cells) * lengths
    return reduced.reshape(len(rows), -1)


def fit_parts(
    raw: np.ndarray,
    config: StudentConfig,
    dims: Sequence[int],
    whiten: float | Sequence[float] = 0.5,
    cells: int = 0,
    whiten_cells: float = 0.0,
    unit_cells: bool = False,
) -> PartedProjection:
    """Fit the projections of a student's parts on raw descriptors (N, K); needs no labels.

    `dims` are the numbers that each part is reduced to, 0 to leave it, and `whiten` is for all of them or for each;
    `cells`, where it is not 0, the numbers of each
    region after the shared projection that comes first. VprError as of `fit_projection`, and where `dims` does not name
    every part.
    """
    whitens = [whiten] * len(dims) if isinstance(whiten, int | float) else list(whiten)
    if not len(dims) == len(whitens) == len(config.raw_parts):
        raise VprError(f"the student has {len(config.raw_parts)} parts: say the numbers of each, not {tuple(dims)}.")
    parts: list[Part] = []
    for number, (rows, dim, w) in enumerate(zip(split_parts(raw, config.raw_parts), dims, whitens, strict=True)):
        rows, part = _unit(rows.astype(np.float32)), Part(rows.shape[1])
        if number == 0 and cells:
            regions = _unit(rows.reshape(-1, config.dim))
            shared = fit_projection(regions, cells, whiten_cells)
            part = replace(part, cells=shared, unit_cells=unit_cells)
            rows = _unit(reduce_cells(rows, shared, unit_cells))
        parts.append(replace(part, joint=fit_projection(rows, dim, w)) if dim else part)
    return PartedProjection(tuple(parts), config.part_weights)


@dataclass(frozen=True)
class ReductionConfig:
    """Numbers per descriptor and how far the variances are made equal (0: not at all, 1: all the way).

    `dim` and `whiten` are for the regions, `global_dim` and `global_whiten` for the global vector of a student that has
    one; 0 numbers leave a part as it is. `cell_dim` other than 0 first reduces every region alone by one matrix that
    all share, with `cell_whiten`; `unit_cells` then brings each to unit length.
    """

    dim: int = 512
    whiten: float = 0.5
    global_dim: int = 128
    global_whiten: float = 0.5
    cell_dim: int = 0
    cell_whiten: float = 0.0
    unit_cells: bool = False

    def parts(self, config: StudentConfig) -> int:
        """Whether one projection or one for each part is fitted: the number of parts, 0 for one projection of all."""
        return len(config.raw_parts) if len(config.raw_parts) > 1 or self.cell_dim or not self.dim else 0


def fit_reduction(raw: np.ndarray, config: StudentConfig, reduction: ReductionConfig) -> AnyProjection:
    """The projection of a student from its raw descriptors (N, K); VprError where they are too few."""
    parts = reduction.parts(config)
    if not parts:
        return fit_projection(raw, reduction.dim, whiten=reduction.whiten)
    return fit_parts(
        raw,
        config,
        (reduction.dim, reduction.global_dim)[:parts],
        (reduction.whiten, reduction.global_whiten)[:parts],
        reduction.cell_dim,
        reduction.cell_whiten,
        reduction.unit_cells,
    )


def reduction_facts(
    reduction: ReductionConfig, config: StudentConfig, images: int, names: Sequence[str]
) -> dict[str, Any]:
    """What a checkpoint's provenance says of its projection."""
    facts = {"images": images, "dim": reduction.dim, "whiten": reduction.whiten, "sources": list(names)}
    return facts | (asdict(reduction) if reduction.parts(config) else {})


def rounded(projection: AnyProjection) -> AnyProjection:
    """The same projection with matrices as half precision stores them."""
    if isinstance(projection, Projection):
        return replace(projection, matrix=projection.matrix.astype(np.float16).astype(np.float32))
    parts = [
        replace(part, **{name: None if one is None else rounded(one) for name, one in _projections(part)})
        for part in projection.parts
    ]
    return replace(projection, parts=tuple(parts))


def fingerprint_bytes(projection: AnyProjection) -> Iterator[bytes]:
    """What a fingerprint holds of a projection."""
    if isinstance(projection, Projection):
        yield f"projection{projection.matrix.shape}".encode()
        yield projection.mean.astype(np.float32).tobytes()
        yield np.ascontiguousarray(projection.matrix, dtype=np.float32).tobytes()
        return
    for part in projection.parts:
        yield f"part{part.length}{part.unit_cells}".encode()
        for name, one in _projections(part):
            if one is not None:
                yield name.encode()
                yield from fingerprint_bytes(one)


def to_tensors(projection: AnyProjection) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name and the description that `from_tensors` takes."""
    if isinstance(projection, Projection):
        return {"mean": projection.mean, "matrix": projection.matrix}, {"whiten": projection.whiten}
    arrays: dict[str, np.ndarray] = {}
    described: list[dict[str, Any]] = []
    for number, part in enumerate(projection.parts):
        description: dict[str, Any] = {"length": part.length, "unit_cells": part.unit_cells}
        for name, one in _projections(part):
            if one is not None:
                own, description[name] = to_tensors(one)
                arrays |= {f"{number}.{name}.{key}": value for key, value in own.items()}
        described.append(description)
    return arrays, {"parts": described}


def from_tensors(state: Mapping[str, Tensor], description: dict[str, Any], config: StudentConfig) -> AnyProjection:
    """The projection of a student; KeyError, TypeError or ValueError where state and description do not fit."""
    if "parts" not in description:
        return _read(state, "", description)
    parts = [
        Part(
            int(one["length"]),
            *(_read(state, f"{number}.{name}.", one[name]) if name in one else None for name in ("cells", "joint")),
            unit_cells=bool(one["unit_cells"]),
        )
        for number, one in enumerate(description["parts"])
    ]
    return PartedProjection(tuple(parts), config.part_weights)


def _read(state: Mapping[str, Tensor], prefix: str, description: dict[str, Any]) -> Projection:
    mean, matrix = (state[prefix + name].to(torch.float32).numpy() for name in ("mean", "matrix"))
    return Projection(mean, matrix, float(description["whiten"]))


def _projections(part: Part) -> tuple[tuple[str, Projection | None], ...]:
    return ("cells", part.cells), ("joint", part.joint)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
