"""One adaptation, from frames to a checkpoint: maps, a training without each stretch, one with all, probabilities."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.student import Checkpoint, save_checkpoint
from vpr_ros.training.adapt.kept import kept_maps
from vpr_ros.training.adapt.learning import LearningConfig, learn
from vpr_ros.training.adapt.measure import Crossings, Measured
from vpr_ros.training.adapt.places import PlaceSize
from vpr_ros.training.adapt.probabilities import fit_probabilities
from vpr_ros.training.adapt.reduced import Reduced
from vpr_ros.training.adapt.stages import Stage
from vpr_ros.training.adapt.stretches import COUNT, cut
from vpr_ros.training.common.trainer import silence_lightning
from vpr_ros.training.data.sample import SampleSet


@dataclass(frozen=True)
class AdaptConfig:
    """How long and on which places is trained, and what becomes of a result that is worse than the start."""

    learning: LearningConfig = field(default_factory=LearningConfig)
    size: PlaceSize = field(default_factory=PlaceSize)
    keep_worse: bool = False


@dataclass(frozen=True)
class Adapted:
    """What was written, and what it recognises."""

    measured: Measured
    fingerprint: str
    calibrated: bool  # on its own drives


def adapt(
    samples: SampleSet,
    start: Checkpoint,
    out: Path,
    config: AdaptConfig,
    work: Path,
    stage: Stage,
    tell: Callable[[Measured], None],
    warn: Callable[[str], None],
) -> Adapted:
    """Train what follows the trunk of `start` on the drives of `samples` and write the checkpoint `out`.

    Every frame is measured by a student that was trained without the stretch of street that it lies on; the student
    that is written was trained on all of them. `work` keeps maps and finished trainings, so that the same call goes on
    where an earlier one ended. `tell` gets the figures before anything is written. VprError for a start that cannot be
    adapted, for drives that hardly share a place, and, unless `config.keep_worse`, for a result that is worse than the
    start on the stretches kept out.
    """
    silence_lightning()
    model, (learning, size) = Reduced(start.model, start.projection), (config.learning, config.size)
    parts = model.start.lengths
    crossings = Crossings(samples, size)
    crossings.require_enough()
    maps = kept_maps(samples, start, work / "maps", stage)
    stretches = cut(samples, size)
    before = crossings.answers(model.describe(maps), parts)
    trainings = work / "trainings" / _key(samples, start, config)
    described: list[np.ndarray] = []
    kept_out = before

    def trained(rows: np.ndarray, number: int) -> Reduced:
        student, label = Reduced(start.model, start.projection), f"training {number + 1} of {COUNT + 1}"
        with stage(label, learning.steps) as progress:
            learn(student, maps[rows], samples.select(rows), size, learning, trainings / f"{number}", progress)
        return student

    for number in range(COUNT):
        descriptors = trained(np.flatnonzero(stretches.apart(number)), number).describe(maps)
        here = stretches.numbers[crossings.rows] == number
        kept_out = crossings.answers(descriptors, parts).where(here, kept_out)
        described.append(descriptors.astype(np.float16))
    final = trained(np.arange(len(samples)), COUNT)
    measured = Measured(crossings, stretches, before, kept_out, crossings.answers(final.describe(maps), parts))
    tell(measured)
    if measured.worse and not config.keep_worse:
        raise VprError(f"{measured.sentence}: nothing was written; --keep-worse writes it")
    with stage("probabilities", None):
        own = fit_probabilities(crossings, stretches, described, parts, warn)
    fingerprint = save_checkpoint(
        out,
        final.on_pixels(start.model),
        final.projection(),
        own or start.calibration_json,
        _provenance(samples, start, config, measured),
        half=True,
    )
    return Adapted(measured, fingerprint, own is not None)


def _key(samples: SampleSet, start: Checkpoint, config: AdaptConfig) -> str:
    """A name that other frames, another start and other settings do not have."""
    facts = [start.metadata["fingerprint"], asdict(config.learning), asdict(config.size), samples.drives.tolist()]
    digest = hashlib.sha256(json.dumps(facts).encode())
    links = samples.nearness.links
    for column in (samples.stamps_ns, samples.nearness.poses, *(() if links is None else (links.rows, links.poses))):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]


def _provenance(samples: SampleSet, start: Checkpoint, config: AdaptConfig, measured: Measured) -> dict[str, Any]:
    facts = {
        "start": start.metadata["fingerprint"],
        "drives": np.unique(samples.drives).tolist(),
        "frames": len(samples),
        **asdict(config.learning),
        "recalls": {
            row.drives: {"queries": row.queries, "start": row.before, "kept out": row.kept_out, "learned": row.learned}
            for row in measured.rows()
        },
    }
    return {**(start.metadata.get("provenance") or {}), "adapted": facts}
