"""Commands about weights: what there is, how to import it, and the compact descriptor."""

from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import fresh, say, track
from vpr_ros.errors import VprError


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(project)


def project(
    sources: Annotated[
        list[Path], typer.Argument(help="Image folders, bags or maps of places like the robot's.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New .safetensors checkpoint.", show_default=False)],
    checkpoint: options.Checkpoint = "nano",
    dim: Annotated[int, typer.Option(min=2, help="Numbers per descriptor.")] = 512,
    whiten: Annotated[bool, typer.Option(help="Scale the components to equal variance.")] = False,
    max_images: Annotated[int, typer.Option(min=8, help="Images to use, spread over the sources.")] = 6000,
    image_topic: options.ImageTopic = None,
    device: options.Device = "auto",
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

    from vpr_ros.offline.describing import batch_size_for
    from vpr_ros.offline.image_source import images_of
    from vpr_ros.student import DescriptorExtractor, fit_projection, read_checkpoint, save_checkpoint

    if output.suffix != ".safetensors":
        raise VprError(f"'{output}' is no name for a checkpoint: let it end with .safetensors.")
    loaded = read_checkpoint(checkpoint)
    extractor = DescriptorExtractor(loaded.model, device=device)
    share = -(-max_images // len(sources))
    rows, batch = [], []
    size = batch_size_for(extractor, 8)
    for image in track((i for s in sources for i in images_of(s, share, image_topic)), "images", None):
        batch.append(extractor.prepare(image))
        if len(batch) == size:
            rows.append(extractor.describe(batch))
            batch = []
    if batch:
        rows.append(extractor.describe(batch))
    descriptors = np.concatenate(rows).astype(np.float32) if rows else np.empty((0, extractor.dim), np.float32)
    projection = fit_projection(descriptors, dim, whiten=whiten)
    provenance = dict(loaded.metadata)
    provenance["projection"] = {
        "images": len(descriptors),
        "dim": dim,
        "whiten": whiten,
        "sources": [s.name for s in sources],
    }
    with fresh(output, force) as path:
        save_checkpoint(path, loaded.model, projection, provenance=provenance)
    say(f"{output}: {extractor.dim} numbers become {dim}, fitted on {len(descriptors)} images")
