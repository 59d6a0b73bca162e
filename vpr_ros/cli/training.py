"""Commands on training; `vpr_ros.training` is imported inside them only."""

from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import training_students
from vpr_ros.cli.console import Progress, say
from vpr_ros.cli.outcome.interrupts import interrupts_say
from vpr_ros.cli.training_students import require_training_extra
from vpr_ros.errors import VprError

TRAIN_HELP = """Train a student, the network that runs on the robot, or a teacher that it learns from.

\b
Examples:
  vpr_ros train student config/training/nano.yaml -o runs/nano
  vpr_ros train teacher config/training/minkloc.yaml -o runs/minkloc
  vpr_ros train distill config/training/distill.yaml -o runs/taught --teacher runs/minkloc/teacher.safetensors
"""


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(render)
    training = typer.Typer(no_args_is_help=True, help=TRAIN_HELP)
    training_students.register(training)
    training.command("teacher")(train_teacher)
    app.add_typer(training, name="train")


def render(
    output: Annotated[
        Path, typer.Argument(help="Folder of the training set; an interrupted run resumes.", show_default=False)
    ],
    split: Annotated[
        str, typer.Option(metavar="train|validation|cardboard", help="Cities, or cardboard places.")
    ] = "train",
    world: Annotated[
        list[str] | None,
        typer.Option(help="city, repetitive, sparse or corridor; repeat to mix them (default: city)."),
    ] = None,
    cities: Annotated[int, typer.Option(min=1, help="How many cities of the split, of each kind of world.")] = 26,
    first_city: Annotated[int, typer.Option(min=0, help="Number of the first of them within the split.")] = 0,
    camera: Annotated[
        str,
        typer.Option(
            metavar="fixed|own|varied", help="Of validation drives: fixed, own (one per city), varied (one per drive)."
        ),
    ] = "fixed",
    drives: Annotated[int, typer.Option(min=1, help="Drives per city.")] = 6,
    frames: Annotated[int, typer.Option(min=5, help="Frames per drive.")] = 100,
    places: Annotated[int, typer.Option(min=1, help="Cardboard places, six views each.")] = 3000,
    height: Annotated[int, typer.Option(min=16)] = 120,
    width: Annotated[int, typer.Option(min=16)] = 160,
    lidar: Annotated[bool, typer.Option(help="Also scan with a LiDAR.")] = False,
    surfaces: Annotated[Path | None, typer.Option(help="Folder of photographs that houses are covered with.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Rendering processes.")] = 2,
):
    """Render a synthetic training set. Test cities cannot be rendered here: nothing may learn from them.

    Train cities vary season, light, weather and camera from drive to drive.
    Validation cities are driven as a robot drives; their first drive is the
    map, by day. They have one ordinary camera and few conditions; with
    `--camera own` every city has a camera of its own and with `varied` every
    drive, of another picture size too, and all conditions. `--world` chooses
    other worlds than cities: `repetitive` streets of equal houses, `sparse`
    country roads, a `corridor` indoors. Cardboard places are thousands of
    small painted scenes, none like another.

    \b
    Example:
      vpr_ros render runs/cities && vpr_ros train student --train runs/cities
    """
    from vpr_ros.training.synthetic import TRAIN_SEEDS, VALIDATION_SEEDS, render_training_set, world_seed
    from vpr_ros.training.synthetic.cardboard import render_cardboard_set
    from vpr_ros.training.synthetic.training_set import VALIDATION_CONDITIONS, VALIDATION_OPTIONS

    size = (height, width)
    if split == "cardboard":
        with interrupts_say(f"{output} is not complete; the same command begins again"):
            render_cardboard_set(output, seed=1, places=places, views=6, size=size, workers=workers)
        say(f"{output}: {places} places, six views each")
        return
    seeds = {"train": TRAIN_SEEDS, "validation": VALIDATION_SEEDS}[split]
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError) as error:
        raise VprError(f"rendering needs Open3D, which does not load ({error}): see `make`.") from None
    if camera != "fixed" and split != "validation":
        raise VprError(f"--camera {camera} is for --split validation: every {split} drive has a camera of its own.")
    chosen = list(seeds)[first_city : first_city + cities]
    if len(chosen) < cities:
        raise VprError(f"the {split} split has {len(seeds)} cities: --first-city {first_city} leaves {len(chosen)}.")
    chosen = [world_seed(kind, number) for kind in world or ("city",) for number in chosen]  # type: ignore[arg-type]
    driven = {} if split == "train" else dict(VALIDATION_OPTIONS)
    if split == "validation":
        driven |= {"conditions": VALIDATION_CONDITIONS} if camera == "fixed" else {"camera": camera}
    covered = {} if surfaces is None else {"surfaces": str(surfaces)}
    kept = f"finished drives are kept in {output}; the same command renders the rest"
    with interrupts_say(kept), Progress("drives", drives * len(chosen)) as progress:
        render_training_set(
            *(output, chosen, drives, frames, size, lidar, workers, progress),
            **driven,
            **covered,
        )
    say(f"{output}: {len(chosen)} cities, {drives} drives each, {frames} frames per drive")


def train_teacher(
    config: Annotated[Path, typer.Argument(help="YAML file of the run.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")] = Path("runs/teacher"),
    data: Annotated[list[Path] | None, typer.Option("--train", help="Training-set folder; repeat for several.")] = None,
    validation: Annotated[list[Path] | None, typer.Option(help="Folder of other places; repeat for several.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    accelerator: Annotated[str | None, typer.Option(metavar="auto|cpu|gpu", help="What it runs on.")] = None,
    resume: Annotated[bool, typer.Option(help="Resume from the folder's last complete epoch.")] = True,
):
    """Train a teacher on images, clouds or both; the result is OUT/teacher.safetensors.

    Options override the settings of the file. Ctrl-C keeps the last complete epoch,
    and the same command resumes the run.

    \b
    Example:
      vpr_ros train teacher config/training/minkloc.yaml -o runs/minkloc --train runs/cities
    """
    require_training_extra()
    from vpr_ros.training.teacher.config import read_teacher_config
    from vpr_ros.training.teacher.train import train_teacher as run

    settings = read_teacher_config(
        config,
        {
            "data.train": None if data is None else [str(path) for path in data],
            "data.validation": None if validation is None else [str(path) for path in validation],
            "optimisation.epochs": epochs,
            "optimisation.seed": seed,
            "hardware.accelerator": accelerator,
        },
    )
    with interrupts_say("the same command goes on"):
        path = run(settings, output, resume=resume)
    say(f"{path}: a teacher '{settings.model.teacher}'")
