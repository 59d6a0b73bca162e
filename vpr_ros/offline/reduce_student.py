"""The compact descriptor of a student from pictures without labels; with it, a trunk is a student without training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vpr_ros.errors import VprError
from vpr_ros.offline.image_source import images_of
from vpr_ros.offline.stages import batch_size_for, batches
from vpr_ros.student import (
    D2VPR,
    Checkpoint,
    DescriptorExtractor,
    StudentConfig,
    read_checkpoint,
    save_checkpoint,
)
from vpr_ros.student.parts import ReductionConfig, fit_reduction, reduction_facts


def describe_for_fitting(model: D2VPR, images: Iterable[np.ndarray], device: str = "auto") -> np.ndarray:
    """Raw descriptors (N, K) of images (h, w, 3) uint8 RGB, to fit a projection on."""
    extractor = DescriptorExtractor(model, device=device)
    rows = [extractor.describe_raw(batch, project=False) for batch in batches(images, batch_size_for(extractor, 8))]
    return np.concatenate(rows) if rows else np.empty((0, extractor.dim), np.float32)


def set_level_weights(model: D2VPR, weights: Sequence[float]) -> None:
    """Give the regions of every level one weight, coarse to fine, after that of the class vector where it is a region.

    VprError for a student without `region_weights`, and for another number of weights.
    """
    config = model.config
    counts = [*([1] if config.whole_region else []), *(side * side for side in config.regions)]
    if not config.region_weights or len(weights) != len(counts):
        raise VprError(f"{len(counts)} weights of levels are needed, and a student with region_weights: true.")
    with torch.no_grad():
        model.region_weights.copy_(torch.tensor(weights).repeat_interleave(torch.tensor(counts)))


def build_student(
    weights: str | Path,
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    config: StudentConfig | None = None,
    reduction: ReductionConfig | None = None,
    level_weights: Sequence[float] = (),
    max_images: int = 6000,
    extra: Iterable[np.ndarray] = (),
    provenance: dict[str, Any] | None = None,
    device: str = "auto",
) -> Checkpoint:
    """A student without training, written to `out` in half precision: a pretrained trunk and a fitted projection.

    `weights` is what `read_checkpoint` takes, such as `efficientnet-lite0` or a `.pth` file, and `config` the student
    on it (`vpr_ros.student.trunks.weights.trunk_config` makes one). The projection is fitted on at most `max_images`
    pictures of `sources` (folders of images, training sets, bags, maps), an equal share of each, and on the `extra`
    ones (h, w, 3) uint8 RGB. VprError for bad sources and too few pictures.
    """
    reduction = reduction or ReductionConfig()
    found = read_checkpoint(weights, config)
    if level_weights:
        set_level_weights(found.model, level_weights)
    share = -(-max_images // max(len(sources), 1))
    pictures = (image for source in sources for image in images_of(source, share))
    raw = np.concatenate(
        [describe_for_fitting(found.model, images, device) for images in (pictures, extra)]  # streams, never held whole
    )
    projection = fit_reduction(raw, found.model.config, reduction)
    facts = reduction_facts(reduction, found.model.config, len(raw), [Path(source).name for source in sources])
    stored = {**found.metadata["provenance"], "projection": facts, **(provenance or {})}
    save_checkpoint(out, found.model.cpu(), projection, provenance=stored, half=True)
    return read_checkpoint(out)
