"""Entries of published teacher checkpoints, and their conversion to ours (METHODS 1.12, 3.8, 4.6, 5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from vpr_ros.student.published import ADAPTER_RENAMES, JOINED, from_d2vpr

State = Mapping[str, Tensor]
Shape = tuple[int, ...]
Rules = tuple[tuple[str, str], ...]

IMAGE_TRUNK = (  # torchvision's modules as the numbered children that were published
    (r"trunk\.conv1\.", "resnet_fe.0."),
    (r"trunk\.bn1\.", "resnet_fe.1."),
    (r"trunk\.layer1\.", "resnet_fe.4."),
    (r"trunk\.layer2\.", "resnet_fe.5."),
    (r"trunk\.layer3\.", "resnet_fe.6."),
)
MINKLOC_RULES = (
    (r"^cloud\.pool\.p$", "cloud_fe.pooling.pooling.p"),
    (r"^cloud\.", "cloud_fe."),
    (r"^image\.reduce\.", "image.fh_conv1x1.4."),
    *IMAGE_TRUNK,
    (r"^image\.", "image_fe."),
)
DISTIL_IMAGE = ((r"^image\.trunk\.", "model."), (r"^image\.reduce\.", "conv1x1."), (r"^image\.pool\.", "image_gem."))
DISTIL_TEACHER_RULES = (
    (r"^cloud\.pool\.p$", "cloud_fe.pooling.pooling.p"),
    (r"^cloud\.backbone\.bn\.", "cloud.backbone.bns."),
    (r"^cloud\.backbone\.conv1x1\.", "cloud.backbone.conv1x1s."),
    (r"^cloud\.", "cloud_fe."),
    *((ours, f"image_fe.{theirs}") for ours, theirs in DISTIL_IMAGE),
)
UNUSED_HEADS = r"(model\.(layer4|fc)|imagecosplace|imageconvap|imagenetvlad)\."
CRICAVPR_RULES = (
    (r"^norm\.", "backbone.norm."),
    (r"^aggregator\.p$", "aggregation.1.p"),
    (r"^encoder\.stack\.", "encoder."),
    *((rf"\.adapter\.{ours}\.", f".adapter.{theirs}.") for theirs, ours in ADAPTER_RENAMES.items()),
)


@dataclass(frozen=True)
class Layout:
    """`published_shapes` gives the published names and shapes of one of our entries, several for a joined one.

    `convert` makes our state dictionary from a published one that has exactly those entries. Entries that match
    `unused` belong to parts that the published network registers and never calls. `harmonise` removes the differences
    among published files of one network before entries are compared.
    """

    published_shapes: Callable[[str, Shape], dict[str, Shape]]
    convert: Callable[[State, Iterable[str]], dict[str, Tensor]]
    unused: str | None = None
    harmonise: Callable[[dict[str, Tensor], Iterable[str]], dict[str, Tensor]] = lambda state, own: state


def _rename(name: str, rules: Rules) -> str:
    """The published name: our name with all rules applied in order."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _one_to_one(rules: Rules, unused: str | None = None, prefix: str | None = None) -> Layout:
    def published_shapes(name: str, shape: Shape) -> dict[str, Shape]:
        return {_rename(name, rules): shape}

    def convert(state: State, own: Iterable[str]) -> dict[str, Tensor]:
        return {name: state[_rename(name, rules)] for name in own}

    def harmonise(state: dict[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
        # the file of a single branch lacks the prefix that the branch has within the whole network
        if prefix is None or any(key.startswith(prefix) for key in state):
            return state
        return {prefix + key: value for key, value in state.items()}

    return Layout(published_shapes, convert, unused, harmonise)


def _cricavpr_entries(name: str, shape: Shape) -> dict[str, Shape]:
    """The three 1x1 convolutions of an adapter and their norms are one layer each here."""
    match = re.match(r"(backbone\.blocks\.\d+\.adapter\.)(mix|mix_norm|spread_norm)\.(.+)$", name)
    if match is None:
        return {_rename(name, CRICAVPR_RULES): shape}
    parts = JOINED[match[2]]
    shares = (8, 1, 1) if len(parts) == 3 else (1, 1)  # of the joined rows
    pointwise = (1, 1) if len(shape) == 2 else ()
    return {
        f"{match[1]}{part}.{match[3]}": (shape[0] * share // sum(shares), *shape[1:], *pointwise) if shape else ()
        for part, share in zip(parts, shares, strict=True)
    }


def _cricavpr_state(state: State, own: Iterable[str]) -> dict[str, Tensor]:
    mapped = from_d2vpr(state)
    return {key.replace("backbone.norm.", "norm.", 1): value for key, value in mapped.items()}


def _without_encoder(state: dict[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """The state without the encoder's weights, where the network has no encoder."""
    if any(name.startswith("encoder.") for name in own):
        return state
    return {key: value for key, value in state.items() if not key.startswith("encoder.")}


def _number_features(state: dict[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """AdaFusion's feature stages with our layer numbers: layers with weights are matched by their order."""
    pattern = re.compile(r"([vl]_feature[123])\.(\d+)\.")

    def numbers(names: Iterable[str]) -> dict[str, list[int]]:
        found: dict[str, set[int]] = {}
        for match in filter(None, map(pattern.match, names)):
            found.setdefault(match[1], set()).add(int(match[2]))
        return {stage: sorted(values) for stage, values in found.items()}

    here, there = numbers(own), numbers(state)

    def renumber(match: re.Match[str]) -> str:
        stage, number = match[1], int(match[2])
        if len(here.get(stage, [])) != len(there[stage]):
            return match[0]
        return f"{stage}.{here[stage][there[stage].index(number)]}."

    return {pattern.sub(renumber, key): value for key, value in state.items()}


MINKLOC = _one_to_one(MINKLOC_RULES)
MINKLOC_CLOUD = _one_to_one(MINKLOC_RULES, prefix="cloud_fe.")
MINKLOC_IMAGE = _one_to_one(MINKLOC_RULES, prefix="image_fe.")
DISTIL_STUDENT = _one_to_one(DISTIL_IMAGE, unused=f"^{UNUSED_HEADS}")
DISTIL_TEACHER = _one_to_one(DISTIL_TEACHER_RULES, unused=rf"^image_fe\.{UNUSED_HEADS}")
CRICAVPR = Layout(_cricavpr_entries, _cricavpr_state, harmonise=_without_encoder)
ADAFUSION = Layout(lambda name, shape: {name: shape}, lambda state, own: dict(state), harmonise=_number_features)
