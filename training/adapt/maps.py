"""A frozen trunk's feature maps of many pictures, computed once, and a student that runs from them.

The student's own classes take it from there: in its trunk's place stands one whose input is maps instead of pixels.
The last stage is kept as its mean, which is all that a student with `global_pooling: mean` reads of it.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR
from vpr_ros.student.inference.colours import normalise
from vpr_ros.student.preprocessing import resize
from vpr_ros.student.trunks.features import Trunk

BATCH = 16


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
        raise VprError(
            f"the maps of '{config.name}' cannot be kept: that needs a student on a trunk, as nano is, whose last "
            "stage is not tapped and pooled by its mean; `vpr_ros train finetune` trains every other."
        )
    return trunk


def packed(student: D2VPR, images: Iterable[np.ndarray], progress: Callable[[int], None] | None = None) -> np.ndarray:
    """Pictures (h, w, 3) uint8 RGB -> (N, K) float16: the tapped maps, and the mean of the last one.

    `progress` gets the number of pictures done.
    """
    trunk, config = trunk_of(student), student.config
    rows: list[np.ndarray] = []
    images, done = iter(images), 0
    while batch := list(itertools.islice(images, BATCH)):
        pixels = torch.as_tensor(np.stack([resize(image, config.image_size) for image in batch]))
        with torch.inference_mode():
            maps = trunk.maps(normalise(pixels, config.input_mean, config.input_std))
            parts = [maps[stage].flatten(1) for stage in config.stages]
            parts.append(maps[trunk.order[-1] if config.global_stage is None else config.global_stage].mean(dim=(2, 3)))
            rows.append(torch.cat(parts, dim=1).half().numpy())
        done += len(batch)
        if progress is not None:
            progress(done)
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
