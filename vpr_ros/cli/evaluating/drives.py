"""`vpr_ros eval drives` and `vpr_ros eval submaps`: AR@N of a student or a teacher.

`vpr_ros.training` is imported inside the functions only.
"""

import math
from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import Progress, say, table
from vpr_ros.errors import VprError

Teacher = Annotated[
    str | None,
    typer.Option(help="Evaluate this teacher instead of the student; --checkpoint is its file, if it has weights."),
]
MeasureName = Annotated[
    str | None,
    typer.Option(
        metavar="euclidean|l1|cosine",
        help="Distance between descriptors: euclidean or l1, both unscaled, or cosine; by default the teacher's own, "
        "euclidean for networks.",
    ),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for tables, JSON and a picture.")]


def evaluate_drives(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Training sets, Boreas sequences or RobotCar traversals. The frames of each drive are looked up in "
            "every other drive of the same area.",
            show_default=False,
        ),
    ],
    radius_m: Annotated[float, typer.Option(min=0.01, help="A match this near is right, in metres.")] = 25.0,
    heading_deg: Annotated[float | None, typer.Option(help="And headings differ by at most this, in degrees.")] = None,
    pca_from: Annotated[
        Path | None, typer.Option(help="Fit a PCA on this folder of training drives, never on tested ones.")
    ] = None,
    pca_dim: Annotated[
        int, typer.Option(min=1, help="Numbers that the PCA keeps; it needs four images for each.")
    ] = 512,
    teacher: Teacher = None,
    measure: MeasureName = None,
    output: Output = None,
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    device: options.Device = options.DEVICE,
):
    """AR@N and AR@1 % between drives in several conditions, for the student or a teacher.

    \b
    Examples:
      vpr_ros eval drives runs/validation -o tables
      vpr_ros eval drives boreas/boreas-2021-01-26-11-22 boreas/boreas-2021-09-14-20-00
    """
    from vpr_ros.evaluation.ranking import measure_named
    from vpr_ros.training.evaluation import evaluate_model, fit_on_samples, open_drives

    samples = open_drives(folders)
    model, name = _model(teacher, checkpoint, device, raw=pca_from is not None)
    reduction = None
    if pca_from is not None:
        training = open_drives([pca_from])
        with Progress(f"PCA on {pca_from.name}", len(training)) as progress:
            reduction = fit_on_samples(model, training, pca_dim, progress=progress)
    with Progress(name, len(samples)) as progress:
        evaluation = evaluate_model(
            model,
            samples,
            radius_m=radius_m,
            heading_rad=None if heading_deg is None else math.radians(heading_deg),
            measure=measure_named(measure) if measure else None,
            reduction=reduction,
            progress=progress,
            name=name,
        )
    _show(evaluation, output)


def evaluate_submaps(
    folder: Annotated[
        Path,
        typer.Argument(help="Point clouds and splits of the PointNetVLAD benchmark.", show_default=False),
    ],
    split: Annotated[
        str, typer.Option(metavar="oxford|university|residential|business", help="Part to test.")
    ] = "oxford",
    images: Annotated[Path | None, typer.Option(help="Folder with the pictures that belong to the submaps.")] = None,
    teacher: Teacher = None,
    measure: Annotated[
        str,
        typer.Option(metavar="euclidean|l1|cosine", help="Distance: euclidean or l1, both unscaled, or cosine."),
    ] = "euclidean",
    output: Output = None,
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    device: options.Device = options.DEVICE,
):
    """AR@N and AR@1 % on a test split of the PointNetVLAD benchmark, for the student or a teacher.

    \b
    Example:
      vpr_ros eval submaps benchmark --images pictures --teacher minkloc++ -c minkloc.pth
    """
    from vpr_ros.evaluation.ranking import measure_named
    from vpr_ros.training.evaluation import evaluate_split, open_split
    from vpr_ros.training.evaluation.pointnetvlad import split_paths

    opened = open_split(folder, split)
    model, name = _model(teacher, checkpoint, device)
    with Progress(name, len(split_paths(opened))) as progress:
        evaluation = evaluate_split(
            model, folder, opened, images, measure=measure_named(measure), progress=progress, name=name
        )
    _show(evaluation, output)


def _model(teacher: str | None, checkpoint: str, device: str, raw: bool = False):
    """A teacher, or the student as a robot runs it (`raw`: without its projection), and its name."""
    from vpr_ros.runtime.opening import load_network

    if teacher is None:
        extractor = load_network(checkpoint, device)
        return (extractor.model if raw else extractor), extractor.name
    import torch

    from vpr_ros.training.teachers import TEACHERS, load_teacher

    if teacher in TEACHERS and not TEACHERS[teacher].trained:
        return load_teacher(teacher, None if checkpoint == options.CHECKPOINT else checkpoint), teacher
    if not Path(checkpoint).is_file():
        raise VprError(f"--teacher {teacher} needs its weights: name the file with --checkpoint, not '{checkpoint}'.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return load_teacher(teacher, checkpoint).to(device), f"{teacher} ({Path(checkpoint).stem})"
    except RuntimeError as error:
        raise VprError(f"the device '{device}' cannot be used ({str(error).splitlines()[0]}): try cpu.") from error


def _show(evaluation, out: Path | None) -> None:
    from vpr_ros.training.evaluation import write_evaluation

    header, rows = evaluation.condition_table()
    table(f"{evaluation.model} on {evaluation.data}", header, [["-" if v != v else v for v in row] for row in rows])
    recalls = evaluation.recalls
    say(f"AR@1 {recalls.ar1:.4f}, AR@1 % {recalls.ar1_percent:.4f} (drawn answers: AR@1 {recalls.chance:.4f})")
    say(evaluation.statement)
    if out is not None:
        say("written: " + ", ".join(str(path) for path in write_evaluation(out, evaluation)))
