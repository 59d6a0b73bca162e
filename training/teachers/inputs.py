"""Conversion of samples of any data set to the keyword arguments of a teacher's forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from vpr_ros.errors import VprError
from vpr_ros.student.config import IMAGENET_MEAN, IMAGENET_STD
from vpr_ros.student.inference.colours import normalise
from vpr_ros.student.preprocessing import resize
from vpr_ros.training.data.sample import BOTH, Modality, Sample
from vpr_ros.training.teachers.occupancy import OccupancyGrid

Thinning = Literal["even", "random"]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class TeacherInputs:
    """The input of a teacher; every teacher has one as `model.inputs`.

    A teacher without `image_size` takes no images, without `voxel_size` or `points` no clouds, without `grid` no
    voxel grids. Lengths are in the unit of the clouds it is trained on (metres, or PointNetVLAD's normalised units).
    """

    image_size: tuple[int, int] | None = None  # (height, width) in pixels; the aspect ratio is not kept
    image_mean: Colour = IMAGENET_MEAN  # of RGB in [0, 1]
    image_std: Colour = IMAGENET_STD
    voxel_size: float | None = None  # edge of a sparse voxel
    points: bool = False  # clouds as they are, for a teacher that makes its own grid of them
    grid: OccupancyGrid | None = None
    cloud_points: int | None = None  # larger clouds are thinned to this number of points; None keeps all
    thinning: Thinning = "even"  # every n-th point in the cloud's order, or "random" ones

    def __post_init__(self) -> None:
        if self.thinning not in get_args(Thinning):
            raise VprError(f"thinning is '{self.thinning}': choose one of {', '.join(get_args(Thinning))}.")
        if self.cloud_points is not None and self.cloud_points < 1:
            raise VprError(f"cloud_points is {self.cloud_points}: clouds are thinned to at least 1 point.")
        if self.voxel_size is not None and not self.voxel_size > 0:
            raise VprError(f"voxel_size is {self.voxel_size}: the edge of a voxel must be positive.")
        if self.image_size is not None and min(self.image_size) < 1:
            raise VprError(f"image_size is {self.image_size}: (height, width) in pixels is needed.")

    @property
    def names(self) -> tuple[str, ...]:
        """The keyword arguments that `collate` makes and the forward needs."""
        taken = {"images": self.image_size is not None, "clouds": self.takes_points, "voxels": self.grid is not None}
        return tuple(name for name, used in taken.items() if used)

    @property
    def takes_points(self) -> bool:
        """Whether `collate` makes clouds."""
        return self.points or self.voxel_size is not None

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The parts of a sample that are used: "image", "cloud" or both."""
        used = {"image": self.image_size is not None, "cloud": self.takes_points or self.grid is not None}
        return tuple(name for name in BOTH if used[name])


def collate(
    samples: Sequence[Sample], inputs: TeacherInputs, rng: np.random.Generator | None = None
) -> dict[str, Tensor | list[Tensor]]:
    """B samples -> the keyword arguments of the forward, on the CPU.

    images (B, 3, h, w) float32 normalised; clouds B tensors (N_i, 3) float32; voxels (B, 1, X, Y, Z) float32.
    `rng` chooses the points of random thinning; without it they depend on torch's seed. Points that are not finite
    are dropped. VprError when a sample lacks an input of the teacher.
    """
    if not samples:
        raise VprError("there are no samples to collate: a batch needs at least one.")
    batch: dict[str, Tensor | list[Tensor]] = {}
    if inputs.image_size is not None:
        pictures = [resize(_image(sample), inputs.image_size) for sample in samples]
        stacked = torch.from_numpy(np.stack(pictures))
        batch["images"] = normalise(stacked, inputs.image_mean, inputs.image_std).contiguous()
    if inputs.takes_points or inputs.grid is not None:
        if rng is None and inputs.thinning == "random":
            rng = np.random.default_rng(int(torch.randint(2**62, (1,))))
        clouds = [thin(_cloud(sample), inputs.cloud_points, inputs.thinning, rng) for sample in samples]
        if inputs.takes_points:
            batch["clouds"] = [torch.from_numpy(cloud) for cloud in clouds]
        if inputs.grid is not None:
            batch["voxels"] = torch.from_numpy(np.stack([inputs.grid.fill(cloud) for cloud in clouds]))
    return batch


def thin(
    points: np.ndarray, count: int | None, how: Thinning = "even", rng: np.random.Generator | None = None
) -> np.ndarray:
    """(N, 3) -> at most `count` of the points, in their order; a smaller cloud is returned unchanged."""
    if count is None or len(points) <= count:
        return points
    if how == "random":
        rng = rng or np.random.default_rng()
        return points[np.sort(rng.choice(len(points), count, replace=False))]
    return points[np.arange(count) * len(points) // count]


def _image(sample: Sample) -> np.ndarray:
    if sample.image is None:
        raise VprError(f"{_where(sample)} has no image, which this teacher sees: use a cloud-only one or other data.")
    return sample.image


def _cloud(sample: Sample) -> np.ndarray:
    if sample.cloud is None:
        raise VprError(f"{_where(sample)} has no cloud, which this teacher sees: use an image-only one or other data.")
    points = np.asarray(sample.cloud, dtype=np.float32)
    if points.ndim != 2 or points.shape[1] != 3:
        raise VprError(f"{_where(sample)} has a cloud of shape {points.shape}: (N, 3) is needed.")
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise VprError(f"{_where(sample)} has a cloud without a finite point: leave it out.")
    return np.ascontiguousarray(points)


def _where(sample: Sample) -> str:
    return f"the sample at {sample.stamp_ns} ns of drive '{sample.drive}'"
