"""Commands that look at maps and change them."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import calibrating, models, options
from vpr_ros.cli.console import Progress, say, table
from vpr_ros.cli.outcome.interrupts import interrupts_say
from vpr_ros.cli.outcome.outputs import fresh
from vpr_ros.errors import VprError


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (info, merge, prune, poses, redescribe):
        app.command()(command)


def info(
    map_file: Annotated[
        Path,
        typer.Argument(metavar="NAME", help="Map file; or a checkpoint, by its file or name.", show_default=False),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Also draw the map: thumbnails of its keyframes and where they lie (.jpg, .png)."),
    ] = None,
    force: options.Force = False,
):
    """What is in a map: sessions, keyframes, size, model, calibration; of a checkpoint: network, weights, licence.

    Of each session: the keyframes that it added and that are left of them, how
    many views the map knew already (`vpr_ros map --known-lead`), and sizes.

    \b
    Example:
      vpr_ros info town.vpr --pictures town.jpg
    """
    if models.is_checkpoint(str(map_file)):
        if pictures is not None:
            raise VprError(f"'{map_file}' is a checkpoint: pictures are those of a map.")
        models.show_checkpoint(str(map_file), as_json)
        return
    from vpr_ros.place_map import PlaceMap
    from vpr_ros.place_map import info as describe

    with PlaceMap.open(map_file) as place_map:
        if pictures is not None:
            _draw(place_map, pictures, force)
        facts = describe(place_map)
        facts["calibration_facts"] = calibrating.facts(place_map.get_calibration())
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    if pictures is not None:
        say(f"pictures: {pictures}")
    unit, numbers = facts["place_radius_unit"], " + ".join(map(str, facts["descriptor_parts"]))
    rows = [
        ("map", f"{facts['map_id']} version {facts['version']}, schema {facts['schema_version']}"),
        (
            "keyframes",
            f"{facts['keyframes']}, {facts['keyframes_with_pose']} with a pose in frame '{facts['frame_id']}'"
            + _of_odometry(facts["sessions"]),
        ),
        ("length", f"{facts['length_m']:.0f} m"),
        ("place radius", f"{facts['place_radius']:g} {unit}"),
        ("datum", "none" if facts["datum"] is None else ", ".join(f"{v:.7g}" for v in facts["datum"])),
        ("model", f"{facts['model_name']} ({facts['fingerprint'][:12]}), {numbers} numbers per keyframe"),
        ("calibration", facts["calibration"]),
        *calibrating.rows(facts["calibration_facts"]),
        *_local_features(facts),
        ("file", f"{facts['file_bytes'] / 1e6:.2f} MB, {(facts['bytes_per_keyframe'] or 0) / 1e3:.1f} kB per keyframe"),
    ]
    table(str(map_file), ["", ""], rows)
    table(
        "sessions",
        ["id", "name", "keyframes", "length m", "seconds", "turned", "from", "source"],
        [
            (
                s["id"],
                s["name"],
                s["keyframes"],
                f"{s['length_m']:.0f}",
                f"{s['duration_s']:.0f}",
                s["rotation"],
                _when(s["first_stamp_ns"]),
                s["source"],
            )
            for s in facts["sessions"]
        ],
    )
    table(
        "their keyframes, and what is kept of them in MB",
        ["id", "added", "known", "left", *facts["parts"]],
        [
            (
                s["id"],
                s["added"],
                s["known"],
                s["keyframes"],
                *(f"{s['bytes'].get(part, 0) / 1e6:.2f}" for part in facts["parts"]),
            )
            for s in facts["sessions"]
        ],
    )
    for sentence in facts["limits"]:
        say(sentence, style="yellow")


def _of_odometry(sessions: list[dict]) -> str:
    """Which sessions brought odometry for poses of the map; empty where none did."""
    ids = [str(s["id"]) for s in sessions if s["map_poses"] == "odometry"]
    return f" (the odometry of session {', '.join(ids)})" if ids else ""


def _local_features(facts: dict) -> list[tuple[str, str]]:
    """A row on the keyframes' local features; none where the map has none."""
    local = facts["local_features"]
    if local is None:
        return []
    text = (
        f"{local['kind']}, {local['keyframes_share']:.0%} of the keyframes, {local['mean_keypoints']:.0f} keypoints on "
        f"average, {local['depth_share']:.0%} of them with depth, {facts['parts']['features']['bytes'] / 1e6:.2f} MB"
    )
    return [("local features", text)]


def _draw(place_map, output: Path, force: bool) -> None:
    """The contact sheet of a map as a file."""
    from vpr_ros.atomic import write_whole
    from vpr_ros.offline.contact_sheet import contact_sheet, require_picture_name, sheet_bytes

    require_picture_name(output)
    with fresh(output, force) as path:
        write_whole(path, sheet_bytes(contact_sheet(place_map), output))


def merge(
    maps: Annotated[list[Path], typer.Argument(help="Maps of one model and one frame.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="New map file.", show_default=False)],
    place_radius: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Size of a place in the merged map, for maps that differ in it.", show_default=False
        ),
    ] = None,
    same_frame: Annotated[
        bool, typer.Option("--same-frame", help="All poses are in the frame of the first map, whatever their origins.")
    ] = False,
    force: options.Force = False,
):
    """Put several maps into a new one; their frames must be the same (see `vpr_ros align`).

    \b
    Example:
      vpr_ros merge monday.vpr tuesday.vpr -o town.vpr
    """
    from vpr_ros.place_map import merge as join

    if any(path.resolve() == output.resolve() for path in maps):
        raise VprError(f"'{output}' is one of the maps to merge: give the merged map another name.")
    with fresh(output, force) as path:
        facts = join(path, maps, place_radius, same_frame)
    say(f"{output}: {facts['keyframes']} keyframes in {facts['sessions']} sessions from {facts['maps']} maps")


def prune(
    map_file: options.MapArgument,
    spacing_m: Annotated[
        float | None, typer.Option("--spacing-m", min=0.0, help="Keep keyframes this far apart.")
    ] = None,
    heading_deg: Annotated[
        float, typer.Option(min=0.0, help="Keep nearer ones that turned by this, in degrees.")
    ] = 15.0,
    max_keyframes: Annotated[
        int | None, typer.Option(min=1, help="Keep at most this many: those that others answer for go first.")
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option("--max-mb", min=0.0, help="The same for the size of the file, in MB.")
    ] = None,
    reach: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Wherever one goes by these bounds, one that looks the same way stays this near: metres, or keyframes "
            "of a drive without poses (default: half the place radius).",
        ),
    ] = None,
    drop_session: Annotated[list[int] | None, typer.Option(help="Remove a whole session; repeat for several.")] = None,
    before: Annotated[
        datetime | None, typer.Option(help="Remove keyframes whose image is older than this (UTC).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also where no keyframe would be left.")] = False,
):
    """Remove keyframes for good. Ids of those that stay do not change, and no id is ever used again.

    A bound takes first what other keyframes of the same place look most like,
    so that every place stays and, as far as it allows, every light and season.

    \b
    Examples:
      vpr_ros prune town.vpr --spacing-m 5 --dry-run
      vpr_ros prune town.vpr --spacing-m 5 --drop-session 2
    After a year of drives, no larger than the robot's disk allows:
      vpr_ros prune town.vpr --max-mb 200
    """
    from vpr_ros.place_map import Bound, PlaceMap
    from vpr_ros.place_map import prune as thin

    bound = None
    if max_keyframes is not None or max_mb is not None:
        bound = Bound(max_keyframes, None if max_mb is None else 1e6 * max_mb)
    if spacing_m is None and bound is None and not drop_session and before is None:
        raise VprError("nothing to prune by: give --spacing-m, --max-keyframes, --max-mb, --drop-session or --before.")
    older_ns = None if before is None else int(before.replace(tzinfo=timezone.utc).timestamp()) * 10**9
    with PlaceMap.open(map_file, writable=not dry_run) as place_map:
        facts = thin(
            place_map,
            min_spacing_m=spacing_m,
            heading_deg=heading_deg,
            bound=bound,
            reach=reach,
            drop_sessions=drop_session or (),
            older_than_ns=older_ns,
            may_empty=force,
            dry_run=dry_run,
        )
    done = "would be removed" if dry_run else "removed"
    say(f"{map_file}: {facts['removed']} keyframes {done}, {facts['left']} left")


def export_map(map_file: Path, output: Path, pose: str, session: int | None, force: bool) -> None:
    """Write the keyframes as a table (CSV: ids, stamps, both poses) or as a trajectory (TUM); see `vpr_ros export`."""
    from vpr_ros.place_map import PlaceMap, export_csv, export_tum

    kind = output.suffix.lower()
    if kind not in (".csv", ".tum", ".txt"):
        raise VprError(f"'{output}' is neither a .csv nor a .tum file: choose one of these endings.")
    with PlaceMap.open(map_file) as place_map, fresh(output, force) as path:
        facts = export_csv(place_map, path) if kind == ".csv" else export_tum(place_map, path, pose, session)
    skipped = f", {facts['skipped']} without that pose left out" if facts["skipped"] else ""
    say(f"{output}: {facts['written']} keyframes{skipped}")


def poses(
    map_file: options.MapArgument,
    trajectory: Annotated[Path, typer.Argument(help="TUM file: seconds x y z qx qy qz qw.", show_default=False)],
    max_gap_s: Annotated[float, typer.Option("--max-gap-s", help="Longest gap that is interpolated over.")] = 1.0,
    clear: Annotated[
        bool, typer.Option("--clear", help="Take away the poses of keyframes that it does not cover, be they most.")
    ] = False,
):
    """Replace keyframe poses by those of a trajectory, by stamp: after a SLAM optimisation or `vpr_ros align`.

    Keyframes of the same drive that the trajectory does not cover lose their
    pose, since it may be in another frame; where these are most, nothing is
    changed unless you say --clear. Other drives of the map keep their poses.

    \b
    Example:
      vpr_ros poses town.vpr optimised.tum --max-gap-s 2
    """
    from vpr_ros.place_map import PlaceMap, replace_poses
    from vpr_ros.sensors import Trajectory

    source = Trajectory.from_tum(trajectory)
    with PlaceMap.open(map_file, writable=True) as place_map:
        result = replace_poses(place_map, source, max_gap_s, clear)
    say(f"{map_file}: {result.replaced} poses replaced, {result.cleared} cleared, {result.kept} kept (other sessions)")
    if result.why:
        say(f"without a pose: {result.why}; {result.advice}", style="yellow")


def redescribe(
    ctx: typer.Context,
    map_file: options.MapArgument,
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    device: options.Device = options.DEVICE,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Give keyframes without local features those of their thumbnails: auto, xfeat, sift, or a file of "
            "XFeat's weights; none takes all away. Descriptors stay as they are unless --checkpoint is given, too.",
        ),
    ] = None,
    drop_missing: Annotated[bool, typer.Option(help="Remove keyframes that have no thumbnail.")] = False,
):
    """Rebuild all descriptors from the map's thumbnails with another checkpoint, instead of driving again.

    A thumbnail has fewer pixels than the picture had, so places are found again a little less well than from a new
    drive, and a calibration of the map is gone. Local features of thumbnails match less often than those of the
    pictures, and have no depth: they re-rank, and give no poses.

    \b
    Examples:
      vpr_ros redescribe town.vpr --checkpoint student.safetensors
      vpr_ros redescribe town.vpr --features auto
    """
    if features is not None:
        _redescribe_features(map_file, features, device)
        source = ctx.get_parameter_source("checkpoint")
        if source is None or source.name != "COMMANDLINE":
            return
    from vpr_ros.place_map import PlaceMap
    from vpr_ros.place_map import redescribe as rebuild
    from vpr_ros.runtime.opening import load_network

    extractor = load_network(checkpoint, device)
    unchanged = interrupts_say(f"{map_file} has its former descriptors")
    with (
        unchanged,
        PlaceMap.open(map_file, writable=True, unchecked="descriptors") as place_map,
        Progress("keyframes", len(place_map)) as progress,
    ):
        facts = rebuild(place_map, extractor, progress, drop_missing)
    say(f"{map_file}: {facts['described']} keyframes described with {extractor.name}, {facts['dropped']} dropped")


def _redescribe_features(map_file: Path, choice: str, device: str) -> None:
    """Local features from the thumbnails of a map."""
    from vpr_ros.local_features import open_local_features
    from vpr_ros.place_map import PlaceMap, thumbnail_features
    from vpr_ros.student.extractor import choose_device

    extractor = open_local_features(choice, str(choose_device(device)))
    with (
        interrupts_say(f"{map_file} has its former local features"),
        PlaceMap.open(map_file, writable=True) as place_map,
        Progress("keyframes", len(place_map)) as progress,
    ):
        facts = thumbnail_features(place_map, extractor, progress)
    kind = "no" if extractor is None else extractor.kind
    without = f", {facts['without']} without a thumbnail" if facts["without"] else ""
    say(f"{map_file}: {kind} local features made of {facts['made']} thumbnails, {facts['kept']} kept{without}")


def _when(stamp_ns: int | None) -> str:
    if stamp_ns is None:
        return "-"
    if stamp_ns < 10**17:  # simulated clocks begin near zero
        return f"{stamp_ns / 1e9:.1f} s"
    return datetime.fromtimestamp(stamp_ns / 1e9, timezone.utc).strftime("%Y-%m-%d %H:%M")
