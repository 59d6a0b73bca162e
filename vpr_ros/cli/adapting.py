"""`vpr_ros adapt`: a student for one's own streets; `vpr_ros.training` is imported inside the command only."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import Progress, say, table
from vpr_ros.cli.outcome.interrupts import interrupts_say
from vpr_ros.cli.outcome.outputs import fresh
from vpr_ros.cli.training_students import require_training_extra
from vpr_ros.errors import VprError


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(options.reads_bag(adapt))


def adapt(
    reading: options.Reading,
    drives: Annotated[
        list[Path],
        typer.Argument(
            help="Bags of the same streets at different times, or training sets (`vpr_ros frames`).",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New .safetensors checkpoint.", show_default=False)],
    start: Annotated[str, typer.Option(help="Student to begin with: nano, or a checkpoint on a trunk.")] = "nano",
    pairs: Annotated[
        str,
        typer.Option(
            metavar="auto|poses|lidar",
            help="What tells which frames show one place: poses in the map frame, LiDAR clouds, or auto: poses where "
            "every bag has them, else clouds.",
        ),
    ] = "auto",
    place_radius: Annotated[
        float, typer.Option(min=0.01, help="How far apart two frames of one place are, in metres; indoors 1 or 2.")
    ] = 10.0,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training.")] = 200,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    keep_worse: Annotated[
        bool, typer.Option("--keep-worse", help="Write the result even where it is worse than the start.")
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Keep frames, maps and finished trainings in this folder: a call that was stopped goes on, and one "
            "with more bags reads only those.",
        ),
    ] = None,
    image_topic: options.ImageTopic = None,
    odom_topic: options.OdomTopic = None,
    pose_topic: options.PoseTopic = None,
    points_topic: options.PointsTopic = None,
    rotate: options.Rotate = options.ROTATE,
    strict: options.Strict = False,
    force: options.Force = False,
):
    """Make a student for your own streets from drives through them at different times.

    The network's trunk stays as it is; what follows it is trained on pictures
    of one place from different drives. Every stretch of the streets is kept
    out of a training once, and the table compares the student with its start
    there; a picture beside the checkpoint shows where it gains. A student that
    is worse there is not written. Its probabilities come from the same
    stretches.

    \b
    Examples:
      vpr_ros adapt monday.mcap tuesday_night.mcap -o town.safetensors --pose-topic /fix
      vpr_ros adapt monday.mcap tuesday_night.mcap winter.mcap -o town.safetensors --work adapting
    """
    require_training_extra()
    from vpr_ros.student import read_checkpoint
    from vpr_ros.training.adapt.frames import FramesFromBags, own_samples, pairs_of
    from vpr_ros.training.adapt.learning import LearningConfig
    from vpr_ros.training.adapt.picture import comparison_png
    from vpr_ros.training.adapt.places import PlaceSize
    from vpr_ros.training.adapt.reduced import Reduced
    from vpr_ros.training.adapt.run import AdaptConfig
    from vpr_ros.training.adapt.run import adapt as run

    if output.suffix != ".safetensors":
        raise VprError(f"'{output}' is no name for a checkpoint: let it end with .safetensors.")
    size, checkpoint = PlaceSize(place_radius), read_checkpoint(start)
    Reduced(checkpoint.model, checkpoint.projection)  # a start that cannot be adapted is told before bags are read
    topics = reading.topics(image=image_topic, odom=odom_topic, pose=pose_topic, points=points_topic)
    frames = FramesFromBags(topics, reading.drive(rotate), size, pairs_of(pairs))
    config = AdaptConfig(LearningConfig(steps, seed=seed), size, keep_worse)

    drawing = output.with_suffix(".png")
    with fresh(output, force) as path, fresh(drawing, force) as drawn, _work_folder(work) as folder:
        samples = own_samples(drives, folder, frames, Progress)
        adapted = run(
            samples,
            checkpoint,
            path,
            config,
            folder,
            Progress,
            lambda measured: _show(measured.rows()),
            lambda sentence: say(sentence, "yellow"),
        )
        drawn.write_bytes(comparison_png(adapted.measured))
    probabilities = "of its own" if adapted.calibrated else "of the start"
    say(f"{output}: {adapted.measured.sentence}; probabilities {probabilities}; {drawing} shows both")
    say(
        f"map with it: `vpr_ros map BAG -o town.vpr -c {output}`; bring a map along: `vpr_ros redescribe town.vpr -c "
        f"{output}`; it is for these streets"
    )


@contextmanager
def _work_folder(work: Path | None) -> Iterator[Path]:
    """The folder that keeps what was made, or one that goes with the command."""
    if work is not None:
        with interrupts_say(f"what was made until then is kept in {work}, and the same command goes on"):
            yield work
        return
    with interrupts_say("nothing is kept; with --work FOLDER the same command goes on"):
        with tempfile.TemporaryDirectory(prefix="vpr_ros_adapt_") as folder:
            yield Path(folder)


def _show(rows) -> None:
    """Recall between the drives, before and after."""
    table(
        "Recall@1 between the drives",
        ["drives", "queries", "start", "adapted, kept out", "adapted, learned"],
        [(row.drives, row.queries, row.before, row.kept_out, row.learned) for row in rows],
    )
