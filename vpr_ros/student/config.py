"""Sizes and switches of the student network: one dataclass, one dictionary of named configurations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from vpr_ros.errors import VprError

Reading = Literal["paper", "released", "corrected"]
Pooling = Literal["gem", "signed", "mean"]
Stem = Literal["patch", "conv"]
AdapterInit = Literal["constant", "scratch"]
Standardise = Literal["none", "image", "local"]
AggregatorKind = Literal["deformable", "fixed"]
RecoveryKind = Literal["lift", "residual"]
REGIONS = 14  # of the published sizes
VIT = "vit"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# EfficientNet-Lite was learned on (value - 127) / 128
LITE_MEAN = (127 / 255, 127 / 255, 127 / 255)
LITE_STD = (128 / 255, 128 / 255, 128 / 255)


@dataclass(frozen=True)
class StudentConfig:
    """Architecture of a D2-VPR student; stored whole in every checkpoint.

    `reading` names which account of the method is computed. `released`: what the published weights need.
    `paper`: equations 4 to 11 as printed (field read where the region is, half-size offsets, unbounded scales,
    neighbours by deformed centres, one linear layer as position embedding). `corrected`: the released shapes with
    the field read where the region is, the refined medium vectors passed on, and scale 1 where the generator says 0.
    `layer_scale_init` 0 leaves the LayerScales out; `adapter_width` 0 leaves the adapters out.
    `pooling` `gem` floors negative channels, as published; `signed` keeps them; `mean` takes plain means of
    the tokens.
    `standardise` removes light before the network sees it: over the whole `image`, or `local`, over a window of
    a quarter of each side. `normalise_regions` gives all region vectors unit length before they are joined; as
    published, the global one outweighs the rest. `image_size` is (height, width).
    `aggregator` `fixed` pools the 13 regions where they lie, without offsets, fusion and position embedding;
    `taps` with the last block alone leaves the recovery module a linear layer and a norm. Both are for ablations.

    `backbone` is the vision transformer that the fields from `patch_size` to `taps` describe, or the name of a timm
    network with feature maps, a trunk: `stages` numbers those of its blocks (or feature maps) that are tapped, from 0,
    all on the grid of the first one named. `recovery` `residual` passes the joined channels on and adds a linear layer
    that starts at zero. `regions` are the side lengths of the region grids, coarse to fine; (2, 3) is the paper's 4
    and 9 regions, every other choice equal cells of the map; without `whole_region` the class vector is none of the
    regions. `region_weights` gives every region a learned factor, 1 at first, after `normalise_regions`.
    `global_stage` adds the pooled map of that stage, with `global_dim` channels, as a second part of the descriptor:
    an inner product is then the mean of the parts' cosines, the second one weighing `global_weight`. `input_mean` and
    `input_std` are of RGB in [0, 1].
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
    backbone: str = VIT
    stages: tuple[int, ...] = ()
    recovery: RecoveryKind = "lift"
    regions: tuple[int, ...] = (2, 3)
    whole_region: bool = True
    region_weights: bool = False
    global_stage: int | None = None
    global_dim: int = 0
    global_pooling: Pooling = "gem"
    global_weight: float = 0.5
    input_mean: tuple[float, float, float] = IMAGENET_MEAN
    input_std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        choices: tuple[tuple[str, Any, str], ...] = (
            (self.reading, Reading, "reading"),
            (self.pooling, Pooling, "pooling"),
            (self.stem, Stem, "stem"),
            (self.adapter_init, AdapterInit, "adapter_init"),
            (self.standardise, Standardise, "standardise"),
            (self.aggregator, AggregatorKind, "aggregator"),
            (self.recovery, RecoveryKind, "recovery"),
            (self.global_pooling, Pooling, "global_pooling"),
        )
        for value, literal, what in choices:
            allowed: tuple[str, ...] = get_args(literal)
            if value not in allowed:
                raise self._unfit(f"{what} is '{value}', choose one of {', '.join(allowed)}.")
        if not self.regions or min(self.regions) < 1 or list(self.regions) != sorted(set(self.regions)):
            raise self._unfit(f"regions {self.regions} must be side lengths that ascend, such as (4, 6).")
        if len(self.input_mean) != 3 or len(self.input_std) != 3 or min(self.input_std) <= 0:
            raise self._unfit("input_mean and input_std need three numbers each, the deviations above 0.")
        if self.is_trunk:
            self._check_trunk()
        else:
            self._check_vit()

    def _unfit(self, why: str) -> VprError:
        return VprError(f"student configuration '{self.name}': {why}")

    def _check_vit(self) -> None:
        check_image_size(self.image_size, self.patch_size)
        if self.width % self.heads:
            raise self._unfit(f"width {self.width} does not divide by {self.heads} heads.")
        if (
            not self.taps
            or min(self.taps) < 1
            or max(self.taps) > self.depth
            or list(self.taps) != sorted(set(self.taps))
        ):
            raise self._unfit(f"taps {self.taps} must ascend within 1 to {self.depth}.")
        if self.adapter_width % 16:
            raise self._unfit(f"adapter_width {self.adapter_width} must divide by 16 (0: none).")
        if self.stem == "conv" and self.patch_size % 2:
            raise self._unfit(f"the conv stem needs an even patch_size, not {self.patch_size}.")
        if self.stages or self.global_stage is not None or self.global_dim:
            raise self._unfit("stages, global_stage and global_dim are for a timm backbone, not for the transformer.")
        if self.recovery == "residual" and self.dim != len(self.taps) * self.width:
            raise self._unfit(
                f"recovery residual passes {len(self.taps) * self.width} channels on: dim cannot be {self.dim}."
            )

    def _check_trunk(self) -> None:
        changed = [name for name in VIT_FIELDS if getattr(self, name) != FIELD_DEFAULTS[name]]
        if changed:
            raise self._unfit(f"{', '.join(changed)} is for the transformer, not for {self.backbone}: leave it out.")
        if not self.stages or min(self.stages) < 0 or len(set(self.stages)) != len(self.stages):
            raise self._unfit(f"stages {self.stages} must name different stages of {self.backbone}, counted from 0.")
        if self.reading != "corrected":
            raise self._unfit(f"reading '{self.reading}' is of published weights: {self.backbone} needs 'corrected'.")
        if (self.global_stage is None) != (self.global_dim == 0):
            raise self._unfit("global_stage and global_dim, its number of channels, are given together or not at all.")
        if self.global_stage is not None and not 0 < self.global_weight < 1:
            raise self._unfit(f"global_weight is {self.global_weight}: it lies between 0 and 1, both excluded.")

    @property
    def is_trunk(self) -> bool:
        """Whether the backbone is a timm network with feature maps."""
        return self.backbone != VIT

    @property
    def region_count(self) -> int:
        """Number of region vectors, with the class vector where it is one of them."""
        return int(self.whole_region) + sum(side * side for side in self.regions)

    @property
    def raw_parts(self) -> tuple[int, ...]:
        """Lengths of the parts of the raw descriptor: the regions, and the global vector where there is one."""
        local = self.region_count * self.dim
        return (local,) if self.global_stage is None else (local, self.global_dim)

    @property
    def part_weights(self) -> tuple[float, ...]:
        """Share of every part in an inner product of two descriptors; the sum is 1."""
        return (1.0,) if self.global_stage is None else (1 - self.global_weight, self.global_weight)

    @property
    def descriptor_dim(self) -> int:
        """Length of the raw descriptor: regions times `dim`, and `global_dim`."""
        return sum(self.raw_parts)

    def replace(self, **changes: Any) -> StudentConfig:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    def to_stored(self) -> dict[str, Any]:
        """`to_dict` without the fields of `ADDED` that have their default: what checkpoints and fingerprints hold."""
        return {k: v for k, v in self.to_dict().items() if k not in ADDED or getattr(self, k) != FIELD_DEFAULTS[k]}

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


FIELD_DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(StudentConfig)}
VIT_FIELDS = (
    *("patch_size", "width", "depth", "heads", "mlp_ratio", "layer_scale_init", "position_grid", "stem"),
    *("stem_channels", "adapter_width", "adapter_scale", "adapter_init", "taps"),
)
# Fields that the published sizes do without: at their defaults they change neither files nor fingerprints.
ADDED = (
    *("aggregator", "backbone", "stages", "recovery", "regions", "whole_region", "region_weights"),
    *("global_stage", "global_dim", "global_pooling", "global_weight", "input_mean", "input_std"),
)
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
LITE0 = StudentConfig(
    name="lite0",
    image_size=(192, 192),
    backbone="tf_efficientnet_lite0",
    stages=(3,),
    recovery="residual",
    dim=80,
    regions=(4, 6),
    whole_region=False,
    region_weights=True,
    pooling="mean",
    normalise_regions=True,
    offset_hidden=64,
    fusion_hidden=64,
    fusion_dropout=0.0,
    position_hidden=32,
    global_stage=6,
    global_dim=320,
    global_pooling="mean",
    global_weight=0.1,
    input_mean=LITE_MEAN,
    input_std=LITE_STD,
)
CONFIGS = {"small": SMALL, "nano": NANO, "lite0": LITE0}
