"""`vpr_ros eval --drives` and `--submaps`: AR@N of a student or a teacher.

`vpr_ros.training` is imported inside the functions only.
"""

from pathlib import Path

from vpr_ros.cli.console import Progress, say, table
from vpr_ros.errors import VprError


def evaluate_drives(
    folders: list[Path],
    teacher: str | None,
    checkpoint: str,
    device: str,
    *,
    radius_m: float | None,
    heading_deg: float | None,
    measure: str,
    pca_from: Path | None,
    pca_dim: int,
    out: Path | None,
) -> None:
    """Every drive of an area asks every other one; prints the table of conditions, and writes it where `out` says."""
    import math

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
            radius_m=radius_m or 25.0,
            heading_rad=None if heading_deg is None else math.radians(heading_deg),
            measure=measure,
            reduction=reduction,
            progress=progress,
            name=name,
        )
    _show(evaluation, out)


def evaluate_submaps(
    root: Path,
    split_name: str,
    images: Path | None,
    teacher: str | None,
    checkpoint: str,
    device: str,
    *,
    measure: str,
    out: Path | None,
) -> None:
    """The PointNetVLAD benchmark's test split."""
    from vpr_ros.training.evaluation import evaluate_split, open_split
    from vpr_ros.training.evaluation.pointnetvlad import split_paths

    split = open_split(root, split_name)
    model, name = _model(teacher, checkpoint, device)
    with Progress(name, len(split_paths(split))) as progress:
        evaluation = evaluate_split(model, root, split, images, measure=measure, progress=progress, name=name)
    _show(evaluation, out)


def _model(teacher: str | None, checkpoint: str, device: str, raw: bool = False):
    """A teacher, or the student as a robot runs it (`raw`: without its projection), and its name."""
    from vpr_ros.student import DescriptorExtractor

    if teacher is None:
        extractor = DescriptorExtractor.from_checkpoint(checkpoint, device=device)
        return (extractor.model if raw else extractor), extractor.name
    import torch

    from vpr_ros.training.teachers import load_teacher

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
