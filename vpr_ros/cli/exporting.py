"""`vpr_ros export`: a trained network as a runtime checkpoint, or a map as a table or trajectory."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vpr_ros.cli import maps, options
from vpr_ros.cli.console import say, table
from vpr_ros.cli.outcome.outputs import fresh
from vpr_ros.errors import VprError

OF_A_NETWORK, OF_A_MAP = "Of a network", "Of a map"
TABLES = (".csv", ".tum", ".txt")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(export)


def export(
    source: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="A run's folder, a file of weights, or a map.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="New .safetensors (default: in the run's folder); of a map .csv or .tum.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="last|best",
            help="Epoch of a run: last, or best by validation (default: as the run's `keep`).",
            rich_help_panel=OF_A_NETWORK,
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--train",
            help="Training-set folder for the projection; repeat for several (default: the run's).",
            rich_help_panel=OF_A_NETWORK,
        ),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of other places for the calibration; repeat for several (default: the run's).",
            rich_help_panel=OF_A_NETWORK,
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(min=2, help="Numbers per descriptor (default: the run's, or 512).", rich_help_panel=OF_A_NETWORK),
    ] = None,
    whiten: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="0: plain PCA; 1: components of equal variance (default: the run's, or 0.5).",
            rich_help_panel=OF_A_NETWORK,
        ),
    ] = None,
    projection: Annotated[
        str,
        typer.Option(
            metavar="best|fitted|trained|kept",
            help="best: its own or its start's, unless a fitted one recognises more validation queries; fitted (the "
            "default with --dim or --whiten); trained: some hundred steps more on pairs of frames, both are compared; "
            "or kept: the checkpoint's own, which is only calibrated.",
            rich_help_panel=OF_A_NETWORK,
        ),
    ] = "best",
    local_features: Annotated[
        str | None,
        typer.Option(
            metavar="xfeat|sift",
            help="Leave a checkpoint as it is, and fit on --validation how local features of this kind are weighed "
            "beside its descriptors.",
            rich_help_panel=OF_A_NETWORK,
        ),
    ] = None,
    pose: Annotated[
        str, typer.Option(metavar="map|odom", help="Poses of a .tum file.", rich_help_panel=OF_A_MAP)
    ] = "map",
    session: Annotated[int | None, typer.Option(help="Only this session (.tum).", rich_help_panel=OF_A_MAP)] = None,
    force: options.Force = False,
):
    """Make a trained network the checkpoint that a robot runs; or write a map as a table (CSV) or trajectory (TUM).

    Of a network: the projection to compact descriptors is fitted on training
    frames, or stays where that recognises more, the probabilities are fitted on
    validation drives, and all goes into one file with the weights and where
    they come from. `vpr_ros train` ends with this;
    use it for a run that was stopped, other dimensions, or published weights.

    \b
    Examples:
      vpr_ros export runs/town --dim 256 -o town_256.safetensors
      vpr_ros export d2vpr.safetensors --train town -o town_d2vpr.safetensors
      vpr_ros export student.safetensors --projection kept --validation east -o calibrated.safetensors
      vpr_ros export student.safetensors --local-features xfeat --validation east -o weighed.safetensors
      vpr_ros export town.vpr -o town.csv
    """
    if _is_map(source) or (output is not None and output.suffix.lower() in TABLES):
        if output is None:
            raise VprError(f"'{source}' is a map: say with -o which .csv or .tum file to write.")
        maps.export_map(source, output, pose, session, force)
        return
    if local_features:
        _weigh_local_features(source, output, validation, local_features, force)
        return
    _export_network(source, output, weights, data, validation, dim, whiten, projection, force)


def _is_map(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(15) == b"SQLite format 3"
    except OSError:
        return False


def _export_network(source, output, weights, data, validation, dim, whiten, projection, force) -> None:
    from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
    from vpr_ros.training.data.disjoint import check_disjoint
    from vpr_ros.training.export.runtime_checkpoint import CHECKPOINT, export_student
    from vpr_ros.training.student.sources import open_training_frames, read_trained
    from vpr_ros.training.student.validation.result import compare, recalls_of_run
    from vpr_ros.training.student.validation.start import Validation

    if projection == "kept":
        _calibrate_network(source, output, validation, force)
        return
    trained = read_trained(source, weights)
    output = output or (source / CHECKPOINT if source.is_dir() else None)
    output = _checkpoint_name(output)
    folders = trained.train if data is None else tuple(map(str, data))
    training = open_training_frames(folders, trained.layout if data is None else _layout_of(folders))
    validation_folders = trained.validation if validation is None else tuple(map(str, validation))
    validation_samples = TrainingSetSamples(*validation_folders) if validation_folders else None

    def warn(text):
        return say(text, "yellow")

    if validation_samples is not None and (shared := check_disjoint(training, validation_samples)):
        warn(
            f"training and validation both have the area {', '.join(shared)}: if these are the same streets, the "
            "figures and the probabilities will be too good"
        )
    if validation_samples is None:
        warn("no validation set, so no calibration in the checkpoint: fit one to the map with 'vpr_ros calibrate'")
    if projection == "best":
        projection = "fitted" if dim is not None or whiten is not None else trained.projection
    start = trained.start if validation is None else None  # measured on the run's own validation set

    def accept(right):
        """The provenance's recalls; the start's are told, and whoever exports decides."""
        if validation_samples is None or start is None or len(start.run) != len(right):
            return {}
        measured = Validation(validation_samples, trained.validation)
        compare(measured, right, start.run, warn if right.sum() < start.run.sum() else say)
        return {"recalls": recalls_of_run(measured, start, right)}

    with fresh(output, force) as path:
        exported = export_student(
            trained.student,
            training,
            validation_samples,
            path,
            trained.provenance,
            dim=dim or trained.dim,
            whiten=trained.whiten if whiten is None else whiten,
            seed=trained.seed,
            projection=projection,
            own=trained.own,
            shrink=False,
            parts=trained.parts,
            warn=warn,
            accept=accept,
        )
    if exported.recalls:
        _show(exported)
    made = "kept" if exported.projection == "kept" else f"{exported.projection} on {exported.frames} frames"
    say(
        f"{output}: {exported.dim} numbers per descriptor, projection {made}, "
        f"{'calibrated' if exported.calibrated else 'not calibrated'}"
    )


def _calibrate_network(source: Path, output: Path | None, validation: list[Path] | None, force: bool) -> None:
    """The checkpoint as it is, with the probabilities of validation drives."""
    from vpr_ros.student import read_checkpoint
    from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
    from vpr_ros.training.export.runtime_checkpoint import calibrate_student

    output = _checkpoint_name(output)
    if not validation:
        raise VprError("a kept projection leaves only the probabilities to fit: name drives with --validation.")
    checkpoint = read_checkpoint(source)
    with fresh(output, force) as path:
        samples = TrainingSetSamples(*map(str, validation))
        exported = calibrate_student(checkpoint, samples, path, lambda text: say(text, "yellow"))
    if exported.recalls:
        _show(exported)
    say(
        f"{output}: {exported.dim} numbers per descriptor, projection kept, "
        f"{'calibrated' if exported.calibrated else 'not calibrated'}"
    )


def _weigh_local_features(
    source: Path, output: Path | None, validation: list[Path] | None, choice: str, force: bool
) -> None:
    """The checkpoint as it is, with how local features are weighed."""
    from vpr_ros.local_features import open_local_features
    from vpr_ros.student import read_checkpoint
    from vpr_ros.student.catalogue.names import resolve
    from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
    from vpr_ros.training.export.runtime_checkpoint import weigh_local_features

    output = _checkpoint_name(output)
    if not validation:
        raise VprError("how local features are weighed is fitted on drives: name them with --validation.")
    extractor, checkpoint = open_local_features(choice), read_checkpoint(resolve(source))
    if extractor is None:
        raise VprError(f"'{choice}' makes no local features: choose xfeat or sift.")
    with fresh(output, force) as path:
        local = weigh_local_features(checkpoint, TrainingSetSamples(*map(str, validation)), path, extractor)
    say(f"{output}: local features of the kind {local.kind} are weighed beside its descriptors")


def _checkpoint_name(output: Path | None) -> Path:
    if output is None:
        raise VprError("say with -o which .safetensors file to write.")
    if output.suffix != ".safetensors":
        raise VprError(f"'{output}' is no name for a checkpoint: let it end with .safetensors.")
    return output


def _layout_of(folders: tuple[str, ...]) -> Literal["training-set", "gsv-cities"]:
    """The kind of training data that folders hold, by their contents."""
    return "gsv-cities" if any((Path(one) / "Dataframes").is_dir() for one in folders) else "training-set"


def _show(exported) -> None:
    """Recall by condition without a projection and with each one; a hint where the trained one is worse."""
    by_projection = exported.recalls
    rows = [(name, *recalls.values()) for name, recalls in by_projection.items()]
    table("validation Recall@1 (10 m)", ["projection", *by_projection["full"]], rows)
    if "trained" in by_projection and by_projection["trained"].get("all", 0) < by_projection["fitted"].get("all", 0):
        say("the fitted projection recognises more of the validation drives than the trained one", "yellow")
