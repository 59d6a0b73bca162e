"""A single branch of AdaFusion, for comparison with the fused network.

AdaFusion was published without a head for one modality. Here a branch alone is its three feature stages and the mean
of the last map (128 numbers at full size), without attention and without a weight, which only two branches need.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import Tensor

from vpr_ros.errors import VprError
from vpr_ros.training.teachers import Teacher
from vpr_ros.training.teachers.adafusion import AdaFusion
from vpr_ros.training.teachers.teacher import required

Branch = Literal["", "image", "cloud"]


class AdaFusionBranch(Teacher):
    """`network`'s image or cloud branch, with that branch's input alone; the rest of the network is not trained."""

    def __init__(self, network: Teacher, branch: Branch):
        if not isinstance(network, AdaFusion):
            raise VprError("only adafusion has a branch that can be trained alone")
        inputs = replace(network.inputs, **({"grid": None} if branch == "image" else {"image_size": None}))
        super().__init__(inputs, network.dim)
        self.network, self.letter = network, "v" if branch == "image" else "l"
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith(f"{self.letter}_feature"))

    def heads(
        self, images: Tensor | None = None, clouds: Sequence[Tensor] | None = None, voxels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`final` (B, C): the mean of the branch's last map."""
        x = required(images, "images") if self.letter == "v" else required(voxels, "voxels")
        for scale in (1, 2, 3):
            x = self.network.get_submodule(f"{self.letter}_feature{scale}")(x)
        return {"final": x.flatten(2).mean(dim=2)}
