"""The first step of a student's run: its folder, network, samples, teacher, module and batches."""

import logging
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader

from vpr_ros.errors import VprError
from vpr_ros.student import AnyProjection
from vpr_ros.training.common.loading import SampleLoader
from vpr_ros.training.common.run_folder import open_run_folder, without_folders
from vpr_ros.training.common.trainer import silence_lightning
from vpr_ros.training.data.datasets.gsv_cities import GSVCities
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.disjoint import check_disjoint
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.student.batches import StudentBatches
from vpr_ros.training.student.config import DataConfig, TrainConfig, check
from vpr_ros.training.student.frames import FrameBatches, TrainingFrames
from vpr_ros.training.student.module import MetricLearning
from vpr_ros.training.student.networks import Student, build_student, colours_of, freeze, image_size_of, start_of
from vpr_ros.training.student.teacher_cache import RunTeacher, TeacherLike, cached_embeddings, find_teacher
from vpr_ros.training.student.teaching.space import to_space
from vpr_ros.training.student.trainer import check_validation
from vpr_ros.training.student.validation.start import Validation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to train."""

    config: TrainConfig
    out: Path
    samples: SampleSet
    validation: SampleSet | None
    measured: Validation | None  # the validation set where it has a query
    own: AnyProjection | None  # of the start's checkpoint
    teacher: RunTeacher | None
    module: MetricLearning
    loader: DataLoader


def prepare(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool,
    samples: SampleSet | None = None,
    validation: SampleSet | None = None,
    teacher: TeacherLike | None = None,
    student: Student | None = None,
) -> PreparedRun:
    """Check the configuration, open the folder, and build samples, networks and batches.

    Arguments that are not given are made from the configuration.
    """
    check(config, folders=samples is None)
    silence_lightning()
    effective = open_run_folder(out, config, resume)
    if config.hardware.threads:
        torch.set_num_threads(config.hardware.threads)
    student = build_student(config) if student is None else student
    freeze(student, config.model)
    samples = samples if samples is not None else _samples(config.data)
    if validation is None and config.data.validation:
        validation = TrainingSetSamples(*config.data.validation, name="validation")
    measured = check_validation(
        config.optimisation, None if validation is None else Validation(validation, config.data.validation)
    )
    if validation is not None:
        _warn_of_shared_areas(samples, validation)
    source = None
    if config.distillation is not None:
        source = find_teacher(config.distillation, teacher, samples)
        # Loading a teacher uses random numbers, and a teacher that is passed in does not: seed again.
        L.seed_everything(config.optimisation.seed, verbose=False)
        _warn_of_missing_clouds(source, samples, config)
    module, loader = _module_and_loader(config, student, samples, source, out)
    own, origin = start_of(config.model, student)
    module.provenance = _provenance(effective, samples, source, module, origin)
    return PreparedRun(config, out, samples, validation, measured, own, source, module, loader)


def _samples(config: DataConfig) -> SampleSet:
    if config.layout == "gsv-cities":
        root, *more = config.train
        if more:
            raise VprError("train: name one GSV-Cities folder, which holds all its cities")
        return GSVCities(root)
    return TrainingSetSamples(*config.train)


def _module_and_loader(
    config: TrainConfig, student: Student, samples: SampleSet, source: RunTeacher | None, out: Path
) -> tuple[MetricLearning, DataLoader]:
    """The module and its batches."""
    side = max(config.data.image_sizes, default=0)
    size = (side, side) if side else image_size_of(student)
    distillation, variation = config.distillation, config.augmentation.variation
    online = source is not None and distillation is not None and distillation.teacher_view == "online"
    inputs = source.network.inputs if online and source is not None and source.network is not None else None
    cloud = None if distillation is None else distillation.cloud_augment
    frames = TrainingFrames(
        *(samples, size, variation),
        teacher=inputs,
        cloud=cloud,
        cache=config.data.cache,
        colours=colours_of(student),
    )
    if config.hardware.workers:
        frames.fill_cache()

    def embeddings(teacher: RunTeacher):
        assert distillation is not None
        seed, workers = config.optimisation.seed, config.hardware.workers
        return cached_embeddings(teacher, samples, distillation, variation, out, seed=seed, workers=workers)

    def compared():
        """The embeddings as the losses compare them."""
        assert source is not None and distillation is not None
        return to_space(embeddings(source), distillation.teacher_space)

    batches = StudentBatches(samples, config, compared)
    loader = SampleLoader(
        frames,
        collate_fn=FrameBatches(inputs, cloud),
        batch_sampler=batches,
        num_workers=config.hardware.workers,
        persistent_workers=False,
    )
    return MetricLearning(student, samples, config, source, embeddings, len(batches)), loader


def _provenance(
    effective: dict, samples: SampleSet, source: RunTeacher | None, module: MetricLearning, origin: dict
) -> dict:
    """The provenance that is known at the start of the run, for every checkpoint."""
    provenance = {"kind": "metric learning", "config": without_folders(effective), "data": samples.name}
    provenance |= {"frames": len(samples), **origin}
    if source is None or module.distilling is None:
        return provenance
    teacher = source.provenance | {"weights": dict(module.distilling.weights)}
    return provenance | {"kind": "distillation", "teacher": teacher}


def _warn_of_shared_areas(samples: SampleSet, validation: SampleSet) -> None:
    shared = check_disjoint(samples, validation)
    if shared:
        log.warning(
            "training and validation both have the area %s: if these are the same streets, the figures and the "
            "probabilities will be too good",
            ", ".join(shared),
        )


def _warn_of_missing_clouds(source: RunTeacher, samples: SampleSet, config: TrainConfig) -> None:
    """Warn of samples without a cloud where the teacher needs clouds; the online view refuses such samples."""
    online = config.distillation is not None and config.distillation.teacher_view == "online"
    if source.network is None or online:
        return
    unseen = len(samples) - len(samples.holding(source.network.inputs.modalities))
    if 0 < unseen < len(samples):
        log.warning(
            "%d of %d training samples have no cloud: only the task's loss applies to them", unseen, len(samples)
        )
