"""The sources of `vpr_ros export`: a run's folder, interrupted or finished, or a file of weights."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_json
from vpr_ros.student import CONFIGS, D2VPR, AnyProjection, StudentConfig, read_checkpoint
from vpr_ros.student.catalogue.names import WEIGHTS_DIR
from vpr_ros.student.parts import ReductionConfig
from vpr_ros.tensor_files import fill, read_tensors
from vpr_ros.training.common.run_folder import CONFIG_FILE, without_folders
from vpr_ros.training.common.yaml_config import read_stored
from vpr_ros.training.data.datasets.gsv_cities import GSVCities
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.export.runtime_checkpoint import CHECKPOINT
from vpr_ros.training.student.config import TrainConfig
from vpr_ros.training.student.config.data import Layout
from vpr_ros.training.student.networks import configured, start_of
from vpr_ros.training.student.validation.start import Start

log = logging.getLogger(__name__)
AVERAGED, TRAINED = "average.", "student."  # prefixes in a run's checkpoint; the average is used where there is one


@dataclass(frozen=True)
class TrainedStudent:
    """Weights to export with their provenance; the fields of a run have their defaults for a file of weights."""

    student: D2VPR
    provenance: dict
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    layout: Layout = "training-set"
    dim: int = 512
    whiten: float = 0.5
    seed: int = 0
    parts: ReductionConfig = ReductionConfig()
    projection: Literal["best", "fitted"] = "best"
    own: AnyProjection | None = None  # of the file, or of the checkpoint that the run started from
    start: Start | None = None  # what the run measured before its first step


def read_trained(source: Path, weights: str | None = None) -> TrainedStudent:
    """The student of a run folder, of a run's .ckpt file or of any student checkpoint.

    `weights` of a folder: "last" or "best"; None takes those that the run's setting `keep` names.

    Nothing in a file is executed. VprError, one sentence, for a missing file, a run without a complete epoch, a
    teacher's run, and a file that is damaged or does not fit the network.
    """
    if source.is_dir():
        return _read_run(source, source / f"{weights or _run_config(source).optimisation.keep}.ckpt")
    if source.suffix == ".ckpt" and source.is_file():
        return _read_run(source.parent, source)
    if not source.exists() and not (WEIGHTS_DIR / f"{source}.safetensors").is_file():
        raise VprError(f"there is no run folder and no checkpoint '{source}'.")
    checkpoint = read_checkpoint(source)
    if checkpoint.is_initialisation:
        raise VprError(f"{source} is a start for a training, not a trained student: 'vpr_ros train student' first.")
    provenance = dict(checkpoint.metadata.get("provenance") or {})
    return TrainedStudent(checkpoint.model, provenance, own=checkpoint.projection)


def _read_run(folder: Path, path: Path) -> TrainedStudent:
    config = _run_config(folder)
    if not path.is_file():
        raise VprError(_reason_without_weights(folder, path))
    state, _ = read_tensors(path)
    prefix = next((p for p in (AVERAGED, TRAINED) if any(key.startswith(p) for key in state)), None)
    if prefix is None:
        raise VprError(f"{path} holds no student: it is not from 'vpr_ros train student', 'distill' or 'finetune'.")
    student = D2VPR(_architecture(folder, config))
    entries = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    fill(student, entries, path, f"{student.config.name} student")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    provenance = checkpoint.get("provenance") or {"config": without_folders(dataclasses.asdict(config))}
    history, start = checkpoint.get("history"), checkpoint.get("start")
    epochs = history[-1]["epoch"] if history else int(checkpoint.get("epoch", -1)) + 1
    return TrainedStudent(
        student.eval(),
        provenance | {"weights": path.stem, "epochs": epochs},
        train=config.data.train,
        validation=config.data.validation,
        layout=config.data.layout,
        dim=config.export.projection_dim,
        whiten=config.export.whiten,
        seed=config.optimisation.seed,
        parts=config.export.reduction,
        projection=config.export.projection,
        own=_own_projection(config, student),
        start=Start.read(start) if start else None,
    )


def _own_projection(config: TrainConfig, student: D2VPR) -> AnyProjection | None:
    """That of the run's start; None with a warning where its file is no longer there."""
    try:
        return start_of(config.model, student)[0]
    except VprError as error:
        log.warning("the start of the run cannot be read, so the projection is fitted: %s", error)
        return None


def _architecture(folder: Path, config: TrainConfig) -> StudentConfig:
    name, options = config.model.student, config.model.options
    if name not in CONFIGS:
        raise VprError(f"{folder} trained a '{name}'; robots run D2-VPR students ({', '.join(CONFIGS)}).")
    try:
        return configured(name, options)
    except (TypeError, ValueError, KeyError) as error:
        raise VprError(f"{folder}/{CONFIG_FILE} does not describe a student ({error}).") from None


def _run_config(folder: Path) -> TrainConfig:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise VprError(f"'{folder}' is no run: it has no {CONFIG_FILE}, which 'vpr_ros train' writes first.")
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VprError(f"{path} cannot be read ({error}): start the run again in another folder.") from None
    model = config.get("model", config) if isinstance(config, dict) else {}  # runs without groups have no model
    if not isinstance(model, dict) or "student" not in model:
        a_teacher = isinstance(model, dict) and "teacher" in model
        kind = "a teacher's run, and robots run students" if a_teacher else "no run of a student"
        raise VprError(f"'{folder}' is {kind}: give the folder of 'vpr_ros train student', 'distill' or 'finetune'.")
    return read_stored(TrainConfig, config, str(path))


def _reason_without_weights(folder: Path, path: Path) -> str:
    if path.stem == "best" and (folder / "last.ckpt").is_file():
        return f"the run {folder} kept no best weights: it has no validation set, or none was due; take the last ones."
    if (folder / CHECKPOINT).is_file():
        return f"the run {folder} has lost its {path.name}: export {folder / CHECKPOINT} instead, with --train."
    return f"the run {folder} has no whole epoch yet: the same 'vpr_ros train' command goes on with it."


def open_training_frames(folders: tuple[str, ...], layout: Layout) -> SampleSet:
    """The frames that the projection is fitted on; VprError where there are none."""
    if not folders:
        raise VprError("no training frames to fit the projection on: name their folders with --train.")
    absent = [one for one in folders if not Path(one).is_dir()]
    if absent:
        raise VprError(f"the training set {absent[0]} is not there: name the folders with --train.")
    if layout != "gsv-cities":
        return TrainingSetSamples(*folders)
    root, *more = folders
    if more:
        raise VprError("GSV-Cities is one folder: name one with --train.")
    return GSVCities(root)
