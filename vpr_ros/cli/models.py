"""Commands about weights: what there is, how to import it, and the compact descriptor."""

from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import Progress, fresh, require_file, say, track
from vpr_ros.errors import VprError


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
    from vpr_ros.student.catalogue import CATALOGUE

    for entry in CATALOGUE.values():
        say(entry.name, style="bold")
        say(f"  what     {entry.what}" + ("" if entry.for_student else f" ({entry.kind})"))
        say(f"  licence  {entry.licence}")
        say(f"  from     {entry.source}")
        if entry.url is not None and not entry.shipped:
            say(f"  fetch    vpr_ros models download {entry.name}")
    say("Any other .safetensors file that vpr_ros wrote (train, project, models import) works by its path.")


def download(
    name: Annotated[str, typer.Argument(help="Name in the list.", show_default=False)],
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder to put the file into.")] = Path("weights"),
):
    """Fetch published weights; a broken download is continued, and the file is checked."""
    from vpr_ros.student.catalogue import fetch, find

    entry = find(name)
    with Progress(entry.filename, None) as progress:
        path = fetch(entry, folder, lambda done, _total: progress(done))
    say(f"{path}: {entry.what} ({entry.licence})")
    if not entry.for_student:
        say(f"next: {entry.then.replace('FILE', str(path))}")
    elif not entry.shipped:
        say(f"next: vpr_ros models import {path} -o {name}.safetensors")


def import_(
    source: Annotated[Path, typer.Argument(help="Published weights, such as a .pth file.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="New .safetensors checkpoint.", show_default=False)],
    force: options.Force = False,
):
    """Turn a published file into a checkpoint of vpr_ros. Pickles are read as plain tensors, never executed."""
    from vpr_ros.student.catalogue import import_file

    require_file(source, "weights file")
    _require_ending(output)
    with fresh(output, force) as path:
        checkpoint = import_file(source, path)
    facts = checkpoint.metadata
    say(f"{output}: {facts['kind']} weights, {sum(p.numel() for p in checkpoint.model.parameters()):,} parameters")
    for what in ("ignored", "fresh"):
        if facts[what]:
            say(f"{what}: {', '.join(facts[what])}", style="yellow")
    if checkpoint.is_initialisation:
        say("This is a start for `vpr_ros train student`, not a trained student: it does not recognise anything yet.")


def project(
    sources: Annotated[
        list[Path], typer.Argument(help="Image folders, bags or maps of places like the robot's.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New .safetensors checkpoint.", show_default=False)],
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    dim: Annotated[int, typer.Option(min=2, help="Numbers per descriptor.")] = 512,
    whiten: Annotated[
        float,
        typer.Option(min=0, max=1, help="0: plain PCA; 1: components of equal variance; between: part of the way."),
    ] = 0.5,
    max_images: Annotated[int, typer.Option(min=8, help="Images to use, spread over the sources.")] = 6000,
    image_topic: options.ImageTopic = None,
    device: options.Device = options.DEVICE,
    force: options.Force = False,
):
    """Fit the projection to compact descriptors; needs pictures, never labels.

    At least four images per dimension are needed. The result is a new
    checkpoint with the projection inside; maps made with the old one can be
    rebuilt with `vpr_ros redescribe`.

    \b
    Example:
      vpr_ros project first.mcap town.vpr -o town_nano.safetensors --dim 256
    """
    import numpy as np

    from vpr_ros.offline.batches import batch_size_for, batches
    from vpr_ros.offline.image_source import images_of
    from vpr_ros.student import DescriptorExtractor, fit_projection, read_checkpoint, save_checkpoint

    _require_ending(output)
    loaded = read_checkpoint(checkpoint)
    extractor = DescriptorExtractor(loaded.model, device=device)
    share = -(-max_images // len(sources))
    images = track((image for source in sources for image in images_of(source, share, image_topic)), "images")
    rows = [extractor.describe_raw(batch, project=False) for batch in batches(images, batch_size_for(extractor, 8))]
    descriptors = np.concatenate(rows) if rows else np.empty((0, extractor.dim), np.float32)
    projection = fit_projection(descriptors, dim, whiten=whiten)
    provenance = dict(loaded.metadata.get("provenance") or {})
    provenance["projection"] = {
        "images": len(descriptors),
        "dim": dim,
        "whiten": whiten,
        "sources": [s.name for s in sources],
    }
    with fresh(output, force) as path:
        save_checkpoint(path, loaded.model, projection, provenance=provenance)
    say(f"{output}: {extractor.dim} numbers become {dim}, fitted on {len(descriptors)} images")


def _require_ending(output: Path) -> None:
    if output.suffix != ".safetensors":
        raise VprError(f"'{output}' is no name for a checkpoint: let it end with .safetensors.")
