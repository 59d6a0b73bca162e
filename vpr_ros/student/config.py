"""Sizes and switches of the student network: one dataclass, one dictionary of named configurations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from vpr_ros.errors import VprError

Reading = Literal["paper", "released", "corrected"]
Pooling = Literal["gem", "signed"]
Stem = Literal["patch", "conv"]
AdapterInit = Literal["constant", "scratch"]
Standardise = Literal["none", "image", "local"]
AggregatorKind = Literal["deformable", "fixed"]
REGIONS = 14


@dataclass(frozen=True)
class StudentConfig:
    """Architecture of a D2-VPR student; stored whole in every checkpoint.

    `reading` names which account of the method is computed. `released`: what the published weights need.
    `paper`: equations 4 to 11 as printed (field read where the region is, half-size offsets, unbounded scales,
    neighbours by deformed centres, one linear layer as position embedding). `corrected`: the released shapes with
    the field read where the region is, the refined medium vectors passed on, and scale 1 where the generator says 0.
    `layer_scale_init` 0 leaves the LayerScales out; `adapter_width` 0 leaves the adapters out.
    `pooling` `gem` floors negative channels, as published; `signed` keeps them.
    `standardise` removes light before the network sees it: over the whole `image`, or `local`, over a window of
    a quarter of each side. `normalise_regions` gives all 14 vectors unit length before they are joined; as published,
    the global one outweighs the rest. `image_size` is (height, width).
    `aggregator` `fixed` pools the 13 regions where they lie, without offsets, fusion and position embedding;
    `taps` with the last block alone leaves the recovery module a linear layer and a norm. Both are for ablations.
    """

    name: str = "small"
    image_size: tuple[int, int] = (224, 224)
    patch_size: int = 14
    width: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: float = 4.0
    layer_scale_init: float = 1e-5
    position_grid: tuple[int, int] = (37, 37)
    stem: Stem = "patch"
    stem_channels: tuple[int, int] = (16, 32)
    adapter_width: int = 192
    adapter_scale: float = 0.2
    adapter_init: AdapterInit = "constant"
    taps: tuple[int, ...] = (2, 4, 8, 12)
    dim: int = 768
    offset_hidden: int = 512
    fusion_hidden: int = 256
    fusion_dropout: float = 0.1
    position_hidden: int = 128
    medium_samples: int = 8
    small_samples: tuple[int, int, int] = (5, 6, 5)
    reading: Reading = "corrected"
    pooling: Pooling = "gem"
    encoder: bool = False
    encoder_layers: int = 2
    encoder_heads: int = 16
    encoder_hidden: int = 2048
    standardise: Standardise = "none"
    normalise_regions: bool = False
    aggregator: AggregatorKind = "deformable"

    def __post_init__(self) -> None:
        choices: tuple[tuple[str, Any, str], ...] = (
            (self.reading, Reading, "reading"),
            (self.pooling, Pooling, "pooling"),
            (self.stem, Stem, "stem"),
            (self.adapter_init, AdapterInit, "adapter_init"),
            (self.standardise, Standardise, "standardise"),
            (self.aggregator, AggregatorKind, "aggregator"),
        )
        for value, literal, what in choices:
            allowed: tuple[str, ...] = get_args(literal)
            if value not in allowed:
                raise VprError(
                    f"student configuration '{self.name}': {what} is '{value}', choose one of {', '.join(allowed)}."
                )
        check_image_size(self.image_size, self.patch_size)
        if self.width % self.heads:
            raise VprError(
                f"student configuration '{self.name}': width {self.width} does not divide by {self.heads} heads."
            )
        if (
            not self.taps
            or min(self.taps) < 1
            or max(self.taps) > self.depth
            or list(self.taps) != sorted(set(self.taps))
        ):
            raise VprError(
                f"student configuration '{self.name}': taps {self.taps} must ascend within 1 to {self.depth}."
            )
        if self.adapter_width % 16:
            raise VprError(
                f"student configuration '{self.name}': adapter_width {self.adapter_width} must divide by 16 (0: none)."
            )
        if self.stem == "conv" and self.patch_size % 2:
            raise VprError(
                f"student configuration '{self.name}': the conv stem needs an even patch_size, not {self.patch_size}."
            )

    @property
    def descriptor_dim(self) -> int:
        """Length of the raw descriptor: 14 regions times `dim`."""
        return REGIONS * self.dim

    def replace(self, **changes: Any) -> StudentConfig:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StudentConfig:
        """Inverse of `to_dict`; a field that this version does not know raises VprError (a newer file)."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise VprError(
                f"the student configuration has unknown fields ({', '.join(unknown)}): update vpr_ros to read it."
            )
        fields: dict[str, Any] = {
            k: tuple(cast("list[Any]", v)) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**fields)


def check_image_size(size: tuple[int, int], patch_size: int) -> None:
    """Raise VprError unless both sides are positive multiples of the patch size."""
    if min(size) < patch_size or size[0] % patch_size or size[1] % patch_size:
        raise VprError(f"image size {size[0]}x{size[1]} does not work: both sides must be multiples of {patch_size}.")


SMALL = StudentConfig()
NANO = StudentConfig(
    name="nano",
    image_size=(112, 112),
    width=128,
    depth=6,
    heads=4,
    mlp_ratio=3.0,
    layer_scale_init=0.0,
    position_grid=(8, 8),
    stem="conv",
    stem_channels=(16, 16),
    adapter_width=32,
    adapter_scale=1.0,
    adapter_init="scratch",
    taps=(1, 2, 4, 6),
    dim=96,
    offset_hidden=64,
    fusion_hidden=64,
    fusion_dropout=0.0,
    position_hidden=32,
    medium_samples=4,
    small_samples=(3, 3, 3),
    pooling="signed",
    encoder_heads=4,
    encoder_hidden=256,
    standardise="image",
    normalise_regions=True,
)
CONFIGS = {"small": SMALL, "nano": NANO}
