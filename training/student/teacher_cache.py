"""The teacher of a run, and a file of its embeddings of all samples in the run's folder."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vpr_ros.atomic import whole_file, write_whole
from vpr_ros.errors import VprError
from vpr_ros.plain_files import load_arrays
from vpr_ros.training.common.loading import SampleLoader
from vpr_ros.training.data.augment.variation import Variation
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.student.config import DistillationConfig
from vpr_ros.training.student.frames import FrameBatches, TrainingFrames
from vpr_ros.training.teachers import TEACHERS, Teacher, check_unit, load_teacher

BATCH = 32
TeacherLike = Teacher | np.ndarray  # a network, or its embeddings (N, D) of the training samples


@dataclass(frozen=True)
class RunTeacher:
    """A teacher with its provenance; `embeddings` instead of a network where they were passed in."""

    network: Teacher | None
    embeddings: np.ndarray | None  # (N, D)
    provenance: dict  # plain values: name, file, sha256

    @property
    def dim(self) -> int:
        """D of its embedding."""
        if self.network is not None:
            return self.network.dim
        assert self.embeddings is not None
        return self.embeddings.shape[1]


def find_teacher(config: DistillationConfig, given: TeacherLike | None, samples: SampleSet) -> RunTeacher:
    """The `given` teacher, or the configuration's; VprError where there is none and where it does not fit."""
    if isinstance(given, np.ndarray):
        if given.ndim != 2 or len(given) != len(samples):
            raise VprError(f"teacher embeddings have shape {given.shape}: ({len(samples)}, D) is needed, row by sample")
        if config.teacher_view == "online":
            raise VprError(
                "distillation: teacher_view online needs the teacher itself, and embeddings were handed over"
            )
        has_embedding = ~np.isnan(given).all(1)
        if not has_embedding.any() or not np.isfinite(given[has_embedding]).all():
            raise VprError(
                "teacher embeddings hold numbers that are not finite: only whole rows of NaN may stand among others, "
                "for samples that the teacher does not see"
            )
        digest = hashlib.sha256(np.ascontiguousarray(given, dtype=np.float32).tobytes()).hexdigest()
        return RunTeacher(None, given.astype(np.float32), {"teacher": "embeddings", "sha256": digest})
    if given is not None:
        check_unit(given, samples)
        name = given.made_as[0] if given.made_as else type(given).__name__
        return RunTeacher(given.eval(), None, {"teacher": name, "sha256": _digest(given)})
    if not config.checkpoint and TEACHERS[config.teacher].trained:
        raise VprError(
            "distillation: checkpoint names no file: the teacher's weights are needed (`vpr_ros train teacher`), or a "
            "teacher without weights (polar-grid)"
        )
    teacher = load_teacher(config.teacher, config.checkpoint or None, sparse=config.sparse, **config.options)
    check_unit(teacher, samples)
    if not config.checkpoint:
        return RunTeacher(teacher, None, {"teacher": config.teacher, "sha256": _digest(teacher)})
    path = Path(config.checkpoint)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return RunTeacher(teacher, None, {"teacher": config.teacher, "file": path.name, "sha256": digest})


def _digest(network: Teacher) -> str:
    """Of the weights, or of the options of a teacher without any."""
    digest = hashlib.sha256()
    if not network.state_dict():
        digest.update(json.dumps(network.made_as, sort_keys=True).encode())
    for key, value in sorted(network.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def cached_embeddings(
    teacher: RunTeacher,
    samples: SampleSet,
    config: DistillationConfig,
    augment: Variation,
    folder: Path,
    *,
    seed: int,
    workers: int = 0,
) -> np.ndarray:
    """Embeddings (N, D) float32 by row, from `<folder>/teacher.npy` or computed and written there.

    Rows of samples that lack an input of the teacher, a cloud, are NaN. The file is used again only for the same
    teacher, view and samples. VprError for embeddings that are not finite, and where every sample lacks an input.
    """
    if teacher.embeddings is not None:
        return teacher.embeddings
    assert teacher.network is not None
    seen = samples.holding(teacher.network.inputs.modalities)
    if not len(seen):
        raise VprError(
            f"distillation: {config.teacher} looks at clouds, and none of the {len(samples)} samples has one"
        )
    description = _description(teacher, samples, seen, config, augment, seed)
    path, description_path = folder / "teacher.npy", folder / "teacher.json"
    same = description_path.exists() and description_path.read_text() == description
    stored = _read_array(path) if same else None
    if stored is not None and len(stored) == len(samples):
        return stored
    if config.teacher_view == "frozen":
        embeddings = _embed_augmented(teacher.network, samples, seen, config, augment, seed, workers)
    else:
        embeddings = embed(teacher.network, samples.select(seen, teacher.network.inputs.modalities), BATCH)
    found = np.full((len(samples), embeddings.shape[1]), np.nan, dtype=np.float32)
    found[seen] = embeddings
    description_path.unlink(missing_ok=True)
    with whole_file(path, durable=False) as draft, open(draft, "wb") as stream:
        np.save(stream, found)
    write_whole(description_path, description, durable=False)
    return found


def _read_array(path: Path) -> np.ndarray | None:
    """The array of an .npy file; None where it is missing or damaged, since it can be computed again."""
    try:
        return load_arrays(path)
    except (OSError, ValueError):
        return None


def _description(
    teacher: RunTeacher, samples: SampleSet, seen: np.ndarray, config: DistillationConfig, augment: Variation, seed: int
) -> str:
    columns = hashlib.sha256(np.ascontiguousarray(samples.positions_m).tobytes())
    columns.update(np.ascontiguousarray(samples.stamps_ns).tobytes())
    columns.update(seen.astype(np.int64).tobytes())
    columns.update("\n".join(map(str, samples.drives)).encode())
    what = {"view": config.teacher_view, "samples": columns.hexdigest(), **teacher.provenance}
    if config.teacher_view == "frozen":
        what |= {"cloud_augment": asdict(config.cloud_augment), "augment": asdict(augment), "seed": seed}
    return json.dumps(what, sort_keys=True, indent=1)


def _embed_augmented(
    network: Teacher,
    samples: SampleSet,
    seen: np.ndarray,
    config: DistillationConfig,
    augment: Variation,
    seed: int,
    workers: int,
) -> np.ndarray:
    """Embeddings (len(seen), D) of one random augmentation of each row in `seen`; it depends on seed and row alone."""
    cloud = replace(config.cloud_augment, turn_per="cloud")
    size = network.inputs.image_size or (1, 1)
    frames = TrainingFrames(samples, size, augment, teacher=network.inputs, cloud=cloud)
    keys = [(row, int(np.random.default_rng((seed, row)).integers(2**62)), 1.0, seed) for row in seen.tolist()]
    loader = SampleLoader(
        frames,
        collate_fn=FrameBatches(network.inputs, cloud),
        batch_sampler=[keys[start : start + BATCH] for start in range(0, len(keys), BATCH)],
        num_workers=workers,
    )
    with torch.inference_mode():
        embeddings = torch.cat([network.embed(batch["teacher"]).cpu() for batch in loader])
    check_finite(embeddings)
    return embeddings.numpy()


def check_finite(embeddings: torch.Tensor) -> None:
    """VprError for a teacher's embeddings of training samples that are not finite."""
    if not embeddings.isfinite().all():
        raise VprError("the teacher gave numbers that are not finite for the training samples")
