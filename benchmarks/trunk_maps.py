"""A frozen trunk's feature maps of many pictures, computed once, and a student that runs from them.

The student's own classes take it from there: in its trunk's place stands one whose input is maps instead of pixels.
The last stage is kept as its mean, which is all that a student with `global_pooling: mean` reads of it.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from trunk_pictures import Traverses, picture

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR
from vpr_ros.student.parts import Part, PartedProjection
from vpr_ros.student.preprocessing import normalise, resize
from vpr_ros.student.trunks.features import Trunk
from vpr_ros.training.data.augment.images import AugmentConfig, augment
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.sample import METRES, Modality, Sample, SampleSet

BATCH = 16
PHOTO_GAP_M = 8.0  # stands for a step between photographs: neighbours are neither one place nor two
VIEWS = 4


class FromMaps(Trunk):
    """Stands in for a trunk; its input (B, K, 1, 1) is what `packed` makes of the trunk's maps."""

    def __init__(self, trunk: Trunk, shapes: dict[int, tuple[int, int, int]]) -> None:
        nn.Module.__init__(self)
        self.name, self.stages, self.global_stage = trunk.name, trunk.stages, trunk.global_stage
        self.shapes = shapes

    def check_size(self, size: tuple[int, int]) -> None:
        """The size of the pictures was checked when their maps were made."""

    def maps(self, x: Tensor) -> dict[int, Tensor]:
        """(B, K, 1, 1) -> the map (B, C, h, w) of every stage."""
        pieces = torch.split(x.flatten(1), [math.prod(shape) for shape in self.shapes.values()], dim=1)
        return {
            stage: piece.unflatten(1, shape) for (stage, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }


def trunk_of(student: D2VPR) -> Trunk:
    """Its trunk; VprError for a student whose descriptor needs more than `packed` keeps."""
    config, trunk = student.config, student.backbone
    plain = config.global_pooling == "mean" and config.standardise == "none"
    if not isinstance(trunk, Trunk) or not plain or config.global_stage in (None, *config.stages):
        raise VprError(f"'{config.name}' needs a trunk, a last stage that is not tapped, pooled by its mean.")
    return trunk


def packed(student: D2VPR, images: Iterable[np.ndarray]) -> np.ndarray:
    """Pictures (h, w, 3) uint8 RGB -> (N, K) float16: the tapped maps, and the mean of the last one."""
    trunk, config = trunk_of(student), student.config
    rows: list[np.ndarray] = []
    images = iter(images)
    while batch := list(itertools.islice(images, BATCH)):
        pixels = torch.as_tensor(np.stack([resize(image, config.image_size) for image in batch]))
        with torch.inference_mode():
            maps = trunk.maps(normalise(pixels, config.input_mean, config.input_std))
            parts = [maps[stage].flatten(1) for stage in config.stages]
            parts.append(maps[trunk.order[-1] if config.global_stage is None else config.global_stage].mean(dim=(2, 3)))
            rows.append(torch.cat(parts, dim=1).half().numpy())
    return np.concatenate(rows)


def on_maps(student: D2VPR) -> D2VPR:
    """A copy of the student that takes (B, K, 1, 1), rows of `packed`, in the place of pixels."""
    trunk, config = trunk_of(student), student.config
    with torch.inference_mode():
        found = trunk.maps(torch.zeros(1, 3, *config.image_size))
    shapes = {stage: tuple(found[stage].shape[1:]) for stage in config.stages}
    assert config.global_stage is not None
    shapes[config.global_stage] = (config.global_dim, 1, 1)
    moved = copy.deepcopy(student)
    moved.backbone = FromMaps(trunk, shapes)  # pyright: ignore[reportArgumentType]  # shapes have three sides
    return moved


class Reduced(nn.Module):
    """A student on maps and the fitted projection of each of its parts, as parameters."""

    def __init__(self, student: D2VPR, projection: PartedProjection) -> None:
        super().__init__()
        if any(part.joint is None or part.cells is not None for part in projection.parts):
            raise VprError("one projection for each part is needed: project with --dim and without --cell-dim.")
        self.student, self.start = on_maps(student), projection
        matrices = [torch.from_numpy(part.joint.matrix) for part in projection.parts if part.joint is not None]
        # entries of a whitened matrix have any scale and Adam's steps a fixed one: scaling makes the steps relative
        self.scales = [float(matrix.square().mean().sqrt()) for matrix in matrices]
        self.matrices = nn.ParameterList(m / scale for m, scale in zip(matrices, self.scales, strict=True))

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (B, K) of maps -> descriptors (B, dim), what `projection.apply` gives, for training."""
        raw = torch.split(self.student(rows[:, :, None, None].float()), list(self.student.config.raw_parts), dim=1)
        reduced: list[Tensor] = []
        for number, (part, weight) in enumerate(zip(self.start.parts, self.start.weights, strict=True)):
            assert part.joint is not None
            unit = nn.functional.normalize(raw[number], dim=1) - torch.from_numpy(part.joint.mean)
            scores = unit @ (self.matrices[number] * self.scales[number])
            reduced.append(nn.functional.normalize(scores, dim=1) * weight**0.5)
        return torch.cat(reduced, dim=1)

    def projection(self) -> PartedProjection:
        """The projection with the matrices as they are now."""
        parts: list[Part] = []
        for part, matrix, scale in zip(self.start.parts, self.matrices, self.scales, strict=True):
            assert part.joint is not None
            parts.append(replace(part, joint=replace(part.joint, matrix=(matrix.detach() * scale).numpy())))
        return PartedProjection(tuple(parts), self.start.weights)

    def describe(self, rows: np.ndarray) -> np.ndarray:
        """Maps (N, K) -> descriptors (N, dim) as a robot computes them."""
        raw: list[np.ndarray] = []
        self.eval()
        with torch.inference_mode():
            for at in range(0, len(rows), 128):
                batch = torch.from_numpy(rows[at : at + 128].astype(np.float32))
                raw.append(self.student(batch[:, :, None, None]).numpy())
        return self.projection().apply(np.concatenate(raw))


class Pictures(SampleSet):
    """Pictures of any kind in one table; areas of different kinds have different names."""

    cloud_unit = METRES

    def __init__(self, kind: str, positions_m, headings_rad, areas, drives) -> None:
        self.name, self.positions_m = kind, np.asarray(positions_m, float)
        self.headings_rad: np.ndarray = np.asarray(headings_rad, float)
        self.areas = np.array([f"{kind} {area}" for area in areas])
        self.drives, self.conditions = np.asarray(drives).astype(str), np.full(len(self.areas), "")
        self.stamps_ns = np.arange(len(self.areas))

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        raise VprError(f"picture {row} of {self.name} was made into maps and is not kept.")


def photographs(folder: Path, size: tuple[int, int], seed: int) -> tuple[Pictures, Iterator[np.ndarray]]:
    """Every photograph as it is and in augmented views; its place is its number in its sequence."""
    paths = sorted(folder.rglob("*.jpg"))
    named = [re.fullmatch(r"(\w+)_(\d+)", path.stem) for path in paths]
    places = [(match[1], int(match[2])) for match in named if match is not None]
    if len(places) < len(paths):
        raise VprError(f"{folder} holds pictures whose names do not end in an underscore and a number.")

    def views() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(seed)
        for path in paths:
            image = picture(path)
            for view in range(VIEWS):
                yield augment(image, size, AugmentConfig(), 1.0, rng) if view else image

    xy = [(PHOTO_GAP_M * number, 0.0) for _, number in places for _ in range(VIEWS)]
    areas, drives = [area for area, _ in places for _ in range(VIEWS)], list(range(VIEWS)) * len(paths)
    return Pictures("photos", xy, np.zeros(len(xy)), areas, drives), views()


def rendered(kind: str, folder: Path) -> tuple[Pictures, Iterator[np.ndarray]]:
    """The pictures of a training set."""
    held = TrainingSetSamples(folder)
    table = Pictures(kind, held.positions_m, held.headings_rad, held.areas, held.drives)
    return table, (picture(Path(path)) for path in held.table.images)


def kept(path: Path, student: D2VPR, images: Iterable[np.ndarray]) -> np.ndarray:
    """Maps (N, K) of pictures, computed once."""
    if not path.is_file():
        np.save(path, packed(student, images))
    return np.load(path, allow_pickle=False)


def kept_sets(path: Path, student: D2VPR, make: Callable[[], list[Traverses]]) -> tuple[list[Traverses], np.ndarray]:
    """The traverses, their pictures as row numbers, and the maps (N, K) of these rows, computed once."""
    if not path.is_file():
        made = make()
        rows = {id(image): image for one in made for image in (*one.database, *one.queries)}
        at = {key: number for number, key in enumerate(rows)}
        stored = {"maps": packed(student, rows.values()), "names": np.array([one.name for one in made])}
        for number, one in enumerate(made):
            stored[f"{number} database"] = np.array([at[id(image)] for image in one.database])
            stored[f"{number} queries"] = np.array([at[id(image)] for image in one.queries])
            stored[f"{number} right"] = one.right
        np.savez(path, **stored)  # pyright: ignore[reportArgumentType]  # its stub
    with np.load(path, allow_pickle=False) as held:
        sets = [
            Traverses(
                str(name), list(held[f"{number} database"]), list(held[f"{number} queries"]), held[f"{number} right"]
            )
            for number, name in enumerate(held["names"])
        ]
        return sets, held["maps"]
