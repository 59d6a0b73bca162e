"""MinkLoc++ (fused, cloud only, image only) and DistilVPR's released variants of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vpr_ros.training.sparse import backend
from vpr_ros.training.teachers.inputs import TeacherInputs, Thinning
from vpr_ros.training.teachers.minkfpn import CloudBranch
from vpr_ros.training.teachers.resnet import ImageBranch
from vpr_ros.training.teachers.teacher import Teacher, required


class MinkLoc(Teacher):
    """One or both branches; the final embedding is the cloud's followed by the image's, neither normalised.

    METHODS section 4. The fused network also gives the embedding of each branch, for the weighted heads of section 4.4.
    """

    def __init__(self, cloud: CloudBranch | None, image: ImageBranch | None, inputs: TeacherInputs, dim: int) -> None:
        super().__init__(inputs, dim)
        self.cloud, self.image = cloud, image

    def heads(
        self, images: Tensor | None = None, clouds: Sequence[Tensor] | None = None, voxels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`final` (B, D); with two branches also `cloud` (B, D_c) and `image` (B, D_i)."""
        parts = {}
        if self.cloud is not None:
            parts["cloud"] = self.cloud(required(clouds, "clouds"))
        if self.image is not None:
            parts["image"] = self.image(required(images, "images"))
        final = torch.cat(list(parts.values()), dim=1)
        return {"final": final, **parts} if len(parts) > 1 else {"final": final}


def make_minkloc(
    cloud_dim: int = 128,
    image_dim: int = 128,
    *,
    sparse: str = "auto",
    voxel_size: float = 0.01,
    cloud_points: int | None = None,
    thinning: Thinning = "even",
    cloud_planes: Sequence[int] = (32, 64, 64),
    cloud_blocks: int = 1,
    image_size: tuple[int, int] = (240, 320),
    image_depth: int = 18,
    image_planes: tuple[int, int, int] = (64, 128, 256),
    imagenet: str | Path | None = None,
) -> MinkLoc:
    """A branch of width 0 is omitted. `imagenet`: file of a ResNet classifier with the image branch's initial weights.

    `voxel_size` is in the unit of the clouds: 0.01 for PointNetVLAD's normalised ones, 1.0 m for DistilVPR on Boreas.
    """
    cloud = CloudBranch(cloud_dim, voxel_size, cloud_planes, backend(sparse), cloud_blocks) if cloud_dim else None
    image = ImageBranch(image_dim, image_depth, image_planes) if image_dim else None
    if image is not None and imagenet is not None:
        image.trunk.load_imagenet(imagenet)
    inputs = TeacherInputs(
        image_size=tuple(image_size) if image is not None else None,  # type: ignore[arg-type]
        voxel_size=voxel_size if cloud is not None else None,
        cloud_points=cloud_points,
        thinning=thinning,
    )
    return MinkLoc(cloud, image, inputs, cloud_dim + image_dim)


def make_cloud(
    dim: int = 256,
    *,
    sparse: str = "auto",
    voxel_size: float = 0.01,
    cloud_points: int | None = None,
    thinning: Thinning = "even",
    cloud_planes: Sequence[int] = (32, 64, 64),
    cloud_blocks: int = 1,
) -> MinkLoc:
    """The cloud branch alone."""
    return make_minkloc(
        dim,
        0,
        sparse=sparse,
        voxel_size=voxel_size,
        cloud_points=cloud_points,
        thinning=thinning,
        cloud_planes=cloud_planes,
        cloud_blocks=cloud_blocks,
    )


def make_image(
    dim: int = 256,
    *,
    image_size: tuple[int, int] = (240, 320),
    image_depth: int = 18,
    image_planes: tuple[int, int, int] = (64, 128, 256),
    imagenet: str | Path | None = None,
) -> MinkLoc:
    """The image branch alone."""
    return make_minkloc(
        0, dim, image_size=image_size, image_depth=image_depth, image_planes=image_planes, imagenet=imagenet
    )
