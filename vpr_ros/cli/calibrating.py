"""`vpr_ros calibrate`, and what `vpr_ros info` says of a calibration."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import Progress, say
from vpr_ros.cli.outcome.interrupts import interrupts_say
from vpr_ros.errors import VprError
from vpr_ros.runtime.settings import PipelineConfig

if TYPE_CHECKING:
    from vpr_ros.recognition import Calibration

SHOWN = (0.95, 0.99)  # precisions whose thresholds `vpr_ros info` shows


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(options.reads_bag(calibrate))


def calibrate(
    reading: options.Reading,
    map_file: options.MapArgument,
    drive: Annotated[
        Path | None,
        typer.Option("--drive", "--bag", help="A second drive whose places are known.", show_default=False),
    ] = None,
    map_bag: Annotated[
        list[Path] | None,
        typer.Option(help="Bag that was mapped, for the keyframes' true poses (default: the map's)."),
    ] = None,
    truth_topic: Annotated[str | None, typer.Option(help="Topic of the true poses.")] = None,
    truth: Annotated[
        str | None,
        typer.Option(help="Instead of poses: names, frames:K, a CSV or an .npy, as `vpr_ros eval run` takes them."),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            help="Say from which probability on so large a share of what is accepted is right.",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder for pictures of reliability, and of precision and recall, on the drive.",
            show_default=False,
        ),
    ] = None,
    image_topic: options.ImageTopic = None,
    odom_topic: options.OdomTopic = None,
    rotate: options.Rotate = options.ROTATE,
    strict: options.Strict = False,
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    device: options.Device = options.DEVICE,
    reset: Annotated[bool, typer.Option(help="Drop the map's calibration; the checkpoint's applies again.")] = False,
):
    """Fit the probabilities of a map, from a labelled second drive or from the map itself.

    Each checkpoint brings a calibration from other cities. A second drive
    whose places are known replaces it: by true poses, or by `--truth` where
    there are none. Without a drive the map's own is matched against itself,
    which shows no other season or light and so may only lower
    probabilities: against its past, where it has poses or odometry, else
    every second keyframe against the others.

    \b
    Examples:
      vpr_ros calibrate town.vpr --drive second.mcap --map-bag first.mcap
      vpr_ros calibrate walk.vpr --drive walk2 --truth frames:2
      vpr_ros calibrate town.vpr
    From which probability on are 99 of 100 accepted places right?
      vpr_ros calibrate town.vpr --drive second.mcap --precision 0.99
    """
    from vpr_ros.place_map import PlaceMap

    if reset:
        with PlaceMap.open(map_file, writable=True) as place_map:
            place_map.set_calibration(None)
        say(f"{map_file}: the checkpoint's calibration applies")
        return
    if drive is None and (truth is not None or map_bag or truth_topic is not None or pictures is not None):
        raise VprError("truth and pictures belong to a second drive: name it with --drive.")
    if precision is not None and not 0 < precision < 1:
        raise VprError(f"a precision of {precision:g} cannot be asked for: it lies between 0 and 1, as 0.99 does.")
    from vpr_ros.offline.calibrate_map import calibrate_from_drive, calibrate_from_map
    from vpr_ros.offline.evaluate_run import TruthConfig
    from vpr_ros.runtime.opening import load_extractor

    extractor = load_extractor(PipelineConfig(checkpoint=checkpoint, device=device))
    unchanged = interrupts_say(f"{map_file} has its former calibration")
    if drive is None:
        with unchanged:
            calibration = calibrate_from_map(map_file, extractor)
    else:
        topics = reading.topics(image=image_topic, odom=odom_topic, pose="none")
        config = TruthConfig(map_bags=tuple(map_bag or ()), truth_topic=truth_topic, truth=truth)
        with unchanged, Progress("frames") as progress:
            how = reading.drive(rotate)
            fitted = calibrate_from_drive(map_file, drive, extractor, topics, config, progress, how)
        calibration = fitted.calibration
        if pictures is not None:
            from vpr_ros.offline.calibration_pictures import write_pictures

            say(f"{pictures}: {', '.join(write_pictures(pictures, fitted.judged))}")
    say(f"{map_file}: {phrase(calibration)}")
    if precision is not None:
        for robots, tuning in _readings(calibration).items():
            if tuning.thresholds is None:
                say("a precision is shown by a labelled drive only (--drive), or by a checkpoint that has seen some.")
                return
            say(f"{robots}{tuning.threshold(precision).sentence}")


def phrase(calibration: "Calibration") -> str:
    """Where a calibration comes from and what it stands on."""
    said = (
        f"calibration from {calibration.source} ({calibration.n_queries} queries, {calibration.n_off_map} of them off "
        f"the map; {calibration.note})"
    )
    if calibration.source != "self-matches":
        return said
    return f"{said}. A drive against itself shows no other season or light: probabilities may only have been lowered."


def facts(data: dict[str, Any] | None) -> dict[str, Any] | None:
    """Plain JSON types about the calibration of a map or a checkpoint: origin, size, thresholds of precisions."""
    if data is None:
        return None
    from vpr_ros.recognition import Calibration

    calibration = Calibration.from_dict(data)
    thresholds: dict[str, dict[str, Any]] = {}
    for reading, tuning in _readings(calibration).items():
        if tuning.thresholds is not None:
            found = {str(precision): tuning.threshold(precision) for precision in SHOWN}
            thresholds[reading.rstrip(": ") or "any"] = {
                wanted: {"probability": one.probability, "shown": one.shown, "sentence": one.sentence}
                for wanted, one in found.items()
            }
    return {
        "source": calibration.source,
        "queries": calibration.n_queries,
        "off_map": calibration.n_off_map,
        "note": calibration.note,
        "thresholds": thresholds,
    }


def rows(known: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Lines of a table about `facts`."""
    if known is None:
        return []
    out = [("", f"{known['queries']} queries, {known['off_map']} of them off the map; {known['note']}")]
    for reading, thresholds in known["thresholds"].items():
        which = "" if reading == "any" else f"{reading}: "
        out += [("", which + one["sentence"]) for one in thresholds.values()]
    return out


def _readings(calibration: "Calibration") -> dict[str, Any]:
    """What differs between robots with and without odometry, by a prefix of sentences."""
    if calibration.odometry == calibration.plain:
        return {"": calibration.plain}
    return {"with odometry: ": calibration.odometry, "without odometry: ": calibration.plain}
