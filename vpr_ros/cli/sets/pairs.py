"""`vpr_ros pairs`: which frames of a training set's drives show one place, by their clouds."""

from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli.console import Progress, say, table
from vpr_ros.cli.outcome.interrupts import interrupts_say


def pairs(
    folder: Annotated[Path, typer.Argument(help="Folder of the training set.", show_default=False)],
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Set with true poses of the same frames, to compare with. With the set itself its poses are hidden "
            "from the search, and nothing is written.",
        ),
    ] = None,
):
    """Find out which frames of different drives show one place, by their clouds, and keep that in the training set.

    For drives of one city that share no frame: odometry alone, or no poses at
    all. Frames that look alike to the LiDAR are registered, and only
    what agrees along both drives counts. The result, pairs.csv in it, tells
    training which pictures belong together, by day, at night and in snow. Run
    it again after another drive was added.

    \b
    Examples:
      vpr_ros frames monday.mcap -o town --condition summer/day
      vpr_ros frames tuesday.mcap -o town --condition winter/night
      vpr_ros pairs town
      vpr_ros train student --train town
      vpr_ros pairs mapped --check mapped
    """
    from vpr_ros.offline.crossing.checking import check_pairs, need_truth
    from vpr_ros.offline.crossing.of_set import pairs_of_set
    from vpr_ros.training_set.pairs import write_pairs
    from vpr_ros.training_set.reader import read_frame_table

    frames = read_frame_table(folder)
    truth = None if check is None else read_frame_table(check)
    blind = check is not None and check.resolve() == folder.resolve()
    if truth is not None:
        need_truth(frames, truth)
    with interrupts_say(f"the pairs of {folder} are as they were"), Progress("registrations") as progress:
        found = pairs_of_set(frames, blind=blind, progress=progress)
    checks = [None if truth is None else check_pairs(frames, one, truth) for one in found]
    if not blind:
        write_pairs(folder, [one.pairs for one in found])
    rows = []
    for one, checked in zip(found, checks, strict=True):
        shares = [f"{len(placed) / count:.0%}" for placed, count in zip(one.placed, one.frames, strict=True)]
        row = [f"{one.pairs.drive_a} - {one.pairs.drive_b}", one.city, int(one.pairs.confirmed.sum()), *shares]
        if truth is not None:
            row += ["", "", ""] if checked is None else [checked.precision, checked.recall, checked.median_m]
        rows.append(row)
    header = ["drives", "city", "pairs", "of the first", "of the second"]
    table(str(folder), [*header, *([] if truth is None else ["precision", "recall", "error m"])], rows)
    crossing = [one for one in found if len(one.pairs.frames)]
    count = sum(int(one.pairs.confirmed.sum()) for one in crossing)
    drives = {(one.city, name) for one in crossing for name in (one.pairs.drive_a, one.pairs.drive_b)}
    placed = {
        (one.city, name, int(number))
        for one in crossing
        for name, numbers in zip((one.pairs.drive_a, one.pairs.drive_b), one.placed, strict=True)
        for number in numbers
    }
    where = f"{folder}, not written" if blind else f"{folder}/pairs.csv"
    say(
        f"{where}: {count} pairs of {len(drives)} drives, with another drive's place known for "
        f"{len(placed) / len(frames):.0%} of the {len(frames)} frames; {len(crossing)} of {len(found)} pairs of drives "
        "cross"
    )
    known = [checked for checked in checks if checked is not None and checked.passing]
    if truth is not None and known:
        right, of = sum(checked.right for checked in known), sum(checked.pairs for checked in known)
        named, passing = sum(checked.placed for checked in known), sum(checked.passing for checked in known)
        share = f"{right / of:.1%} of {of} pairs are right within 2 m" if of else "there is no pair to check"
        say(f"against the poses of {check}: {share}; {named / passing:.1%} of {passing} passing frames are placed")
