"""The network that is trained: created by name, filled with initial weights, and saved."""

from pathlib import Path

import lightning as L

from vpr_ros.errors import VprError
from vpr_ros.student import (
    CONFIGS,
    D2VPR,
    IMAGENET_MEAN,
    IMAGENET_STD,
    AnyProjection,
    StudentConfig,
    read_checkpoint,
    save_checkpoint,
)
from vpr_ros.student.parts import lengths_of
from vpr_ros.student.trunks.weights import trunk_config
from vpr_ros.tensor_files import fill
from vpr_ros.training.student.config import ModelConfig, TrainConfig
from vpr_ros.training.student.frames import Colours
from vpr_ros.training.student.freezing import freeze_statistics, trained_parameters
from vpr_ros.training.teachers import TEACHERS, Teacher, load_teacher, save_teacher

Student = D2VPR | Teacher  # DistilVPR's students are image networks of the teachers' kind


def build_student(config: TrainConfig) -> Student:
    """A student of the configured size in training mode; its weights depend on the seed or are read from `start`."""
    L.seed_everything(config.optimisation.seed, verbose=False)
    model = config.model
    if model.student in CONFIGS:
        try:
            student: Student = D2VPR(configured(model.student, model.options))
        except (TypeError, ValueError, RuntimeError) as error:
            raise VprError(f"options: no student can be made of {model.options}: {error}") from None
        if model.start:
            _load_start(student, model.start)
    elif model.student in TEACHERS:
        student = load_teacher(model.student, model.start or None, **model.options)
        if student.inputs.modalities != ("image",):
            raise VprError(f"student: {model.student} sees more than an image, which a student must do with")
    else:
        known = ", ".join([*CONFIGS, *TEACHERS])
        raise VprError(f"student: no configuration {model.student!r}; known are {known}")
    return student.train()


def freeze(student: Student, config: ModelConfig) -> None:
    """Set which parameters are trained and which batch statistics are frozen."""
    if isinstance(student, D2VPR):
        trained_parameters(student, config.trained, config.trained_blocks)
    elif config.trained != "all":
        raise VprError(f"trained: {config.trained} is for D2-VPR students, not for {config.student}")
    freeze_statistics(student, config.batch_norm)


def configured(name: str, options: dict) -> StudentConfig:
    """The configuration of a name in `CONFIGS` with `options` changed; a trunk's widths follow its stages."""
    base = CONFIGS[name].to_dict()
    unknown = sorted(set(options) - set(base))
    if unknown:
        raise VprError(f"options: a student has no {', '.join(unknown)}; it has {', '.join(base)}")
    if CONFIGS[name].is_trunk:
        return trunk_config(**({"backbone": CONFIGS[name].backbone} | options))
    return StudentConfig.from_dict(base | options)


def _load_start(student: D2VPR, path: str) -> None:
    """Fill the student from a checkpoint; entries that the file of a backbone lacks keep their random weights."""
    found = read_checkpoint(path, config=student.config)
    reading = read_checkpoint(path).model.config.reading if found.metadata["kind"] == "d2vpr" else None
    reading = reading or found.model.config.reading
    if reading != student.config.reading:
        raise VprError(
            f"start: {path} is of reading '{reading}', the student of '{student.config.reading}': say "
            f"`options: {{reading: {reading}}}`"
        )
    weights = found.model.state_dict()
    if found.metadata["kind"] in ("efficientnet-lite", "timm"):
        # only the trunk is of that file: the rest keeps its random weights, which depend on the run's seed
        weights = student.state_dict() | {k: v for k, v in weights.items() if k.startswith("backbone.")}
    fill(student, weights, path, f"{student.config.name} student")


def start_of(config: ModelConfig, student: Student) -> tuple[AnyProjection | None, dict]:
    """The projection of the checkpoint that `start` names, None where it does not fit the student; and under "trunk",
    where a trunk's first weights are from and under which licence."""
    if not config.start or not isinstance(student, D2VPR):
        return None, {}
    found = read_checkpoint(config.start, student.config)
    provenance = found.metadata["provenance"]
    origin = {"trunk": provenance["trunk"]} if "trunk" in provenance else {}
    return fitting(found.projection, student.config), origin


def fitting(projection: AnyProjection | None, config: StudentConfig) -> AnyProjection | None:
    """The projection itself where it takes the descriptors of such a student, else None."""
    try:
        lengths_of(config, projection)
    except VprError:
        return None
    return projection


def image_size_of(student: Student) -> tuple[int, int]:
    """(height, width) in pixels of the student's input."""
    size = student.config.image_size if isinstance(student, D2VPR) else student.inputs.image_size
    assert size is not None
    return size


def colours_of(student: Student) -> Colours:
    """Mean and deviation of RGB in [0, 1] by which its images are normalised."""
    if isinstance(student, D2VPR):
        return student.config.input_mean, student.config.input_std
    return IMAGENET_MEAN, IMAGENET_STD


def width_of(student: Student) -> int:
    """D of its descriptor."""
    return student.config.descriptor_dim if isinstance(student, D2VPR) else student.dim


def save_student(path: Path, student: Student, provenance: dict, projection: AnyProjection | None = None) -> None:
    """Write the weights: a runtime checkpoint, or for an image network a file for `load_teacher`."""
    if isinstance(student, D2VPR):
        save_checkpoint(path, student, projection, None, provenance)
    else:
        save_teacher(path, student, provenance)
