"""`vpr_ros train student | distill | finetune`: one training; `distill` requires a teacher, `finetune` a start."""

import os
from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli.console import say
from vpr_ros.cli.outcome.interrupts import interrupts_say
from vpr_ros.errors import VprError

Config = Annotated[Path, typer.Argument(help="YAML file of the run.", show_default=False)]
OptionalConfig = Annotated[Path | None, typer.Argument(help="YAML file of the run.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")]
Data = Annotated[list[Path] | None, typer.Option("--train", help="Training-set folder; repeat for several.")]
Validation = Annotated[list[Path] | None, typer.Option(help="Folder of other places; repeat for several.")]
StudentName = Annotated[str | None, typer.Option("--student", help="nano or small.")]
Task = Annotated[str | None, typer.Option("--loss", metavar="contrastive|multi_similarity|triplet|none", help="Task.")]
Epochs = Annotated[int | None, typer.Option(min=1)]
Seed = Annotated[int | None, typer.Option()]
Accelerator = Annotated[str | None, typer.Option(metavar="auto|cpu|gpu", help="What it runs on.")]
Devices = Annotated[str | None, typer.Option(help="GPUs or processes: a number, a list such as 0,1, or auto.")]
Resume = Annotated[bool, typer.Option(help="Resume from the folder's last complete epoch.")]
KeepWorse = Annotated[
    bool, typer.Option("--keep-worse", help="Write the result even where validation finds it worse than the start.")
]
PATHS = {  # of the options' settings in a run's configuration
    "student": "model.student",
    "start": "model.start",
    "loss": "task.loss",
    "epochs": "optimisation.epochs",
    "seed": "optimisation.seed",
    "accelerator": "hardware.accelerator",
    "devices": "hardware.devices",
    "keep_worse": "export.keep_worse",
}


def register(training: typer.Typer) -> None:
    """Add the commands to the group."""
    training.command("student")(train_student)
    training.command("distill")(distill)
    training.command("finetune")(finetune)


def require_training_extra():
    """VprError, with the extra to install, where the packages for training are missing."""
    try:
        import lightning  # noqa: F401
    except ModuleNotFoundError:
        raise VprError("training needs the extra packages: pip install 'vpr_ros[train]'.") from None


def train_student(
    config: OptionalConfig = None,
    output: Output = Path("runs/train"),
    data: Data = None,
    validation: Validation = None,
    student: StudentName = None,
    loss: Task = None,
    epochs: Epochs = None,
    seed: Seed = None,
    accelerator: Accelerator = None,
    devices: Devices = None,
    keep_worse: KeepWorse = False,
    resume: Resume = True,
):
    """Train a student by metric learning; the result is OUT/student.safetensors, fit for --checkpoint.

    Options override the settings of the file. Ctrl-C keeps the last complete epoch,
    and the same command resumes the run.

    \b
    Example:
      vpr_ros train student config/training/nano.yaml --output runs/nano --seed 1
    """
    _run(
        _settings(
            config,
            data,
            validation,
            student=student,
            loss=loss,
            epochs=epochs,
            seed=seed,
            accelerator=accelerator,
            devices=devices,
            keep_worse=keep_worse or None,
        ),
        output,
        resume,
    )


def distill(
    config: Config,
    output: Output = Path("runs/distill"),
    data: Data = None,
    validation: Validation = None,
    teacher: Annotated[Path | None, typer.Option(help="The teacher's weights (teacher.safetensors).")] = None,
    student: StudentName = None,
    loss: Task = None,
    epochs: Epochs = None,
    seed: Seed = None,
    accelerator: Accelerator = None,
    devices: Devices = None,
    keep_worse: KeepWorse = False,
    resume: Resume = True,
):
    """Train a student with the help of a teacher, e.g. one with a LiDAR; the result is OUT/student.safetensors.

    The file needs a `distillation` section; `--teacher` overrides its checkpoint,
    other options the rest. The robot needs the student alone. Ctrl-C
    keeps the last complete epoch, and the same command resumes the run.

    \b
    Example:
      vpr_ros train distill config/training/distill.yaml -o runs/taught --teacher runs/minkloc/teacher.safetensors
    """
    settings = _settings(
        config,
        data,
        validation,
        student=student,
        loss=loss,
        epochs=epochs,
        seed=seed,
        accelerator=accelerator,
        devices=devices,
        keep_worse=keep_worse or None,
    )
    if settings.distillation is None:
        raise VprError(
            f"{config} has no `distillation` section: it says which teacher and which loss; see distill.yaml."
        )
    if teacher is not None:
        from vpr_ros.training.common.yaml_config import with_settings

        settings = with_settings(settings, {"distillation.checkpoint": str(teacher)})
    _run(settings, output, resume)


def finetune(
    config: Config,
    output: Output = Path("runs/finetune"),
    data: Data = None,
    validation: Validation = None,
    start: Annotated[str | None, typer.Option(help="Weights to start from: a checkpoint or a shipped name.")] = None,
    loss: Task = None,
    epochs: Epochs = None,
    seed: Seed = None,
    accelerator: Accelerator = None,
    devices: Devices = None,
    keep_worse: KeepWorse = False,
    resume: Resume = True,
):
    """Train a student from given weights, all of it or the parts that `trained` names.

    The file, or `--start`, names the weights. Ctrl-C keeps the last complete
    epoch, and the same command resumes the run.

    \b
    Example:
      vpr_ros train finetune config/training/nano.yaml -o runs/mine --start nano --train runs/mine_frames
    """
    settings = _settings(
        config,
        data,
        validation,
        start=start,
        loss=loss,
        epochs=epochs,
        seed=seed,
        accelerator=accelerator,
        devices=devices,
        keep_worse=keep_worse or None,
    )
    if not settings.model.start:
        raise VprError(f"{config} has no `start`: name the weights to start from there, or with --start.")
    _run(settings, output, resume)


def _settings(config: Path | None, data, validation, **overrides):
    """The file's `TrainConfig` with the values of the given options."""
    require_training_extra()
    from vpr_ros.training.common.yaml_config import with_settings
    from vpr_ros.training.student.config import TrainConfig, check, read_config

    settings = {PATHS[option]: value for option, value in overrides.items()}
    settings["data.train"] = None if data is None else [str(path) for path in data]
    settings["data.validation"] = None if validation is None else [str(path) for path in validation]
    if config is not None:
        return read_config(config, settings)
    return check(with_settings(TrainConfig(), settings))


def _run(settings, output: Path, resume: bool) -> None:
    from vpr_ros.training.student.train import train

    with interrupts_say("the same command goes on"):
        path = train(settings, output, resume=resume, tell=say)
    if int(os.environ.get("LOCAL_RANK", 0)):
        return  # Lightning started this process for another device; only the first process prints
    from vpr_ros.student import CONFIGS

    if settings.model.student in CONFIGS:
        say(f"{path}: use it with --checkpoint {path}")
    else:
        student = settings.model.student
        measured = f"vpr_ros eval drives --teacher {student} -c {path}"
        say(f"{path}: for `{measured}`; robots run {' or '.join(CONFIGS)}")
