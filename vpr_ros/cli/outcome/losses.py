"""What a run says of its pictures: how they were turned, and what of the bag could not be used."""

from typing import TYPE_CHECKING

from vpr_ros.cli.console import say

if TYPE_CHECKING:
    from vpr_ros.sensors.upright import Mounting


def say_mounting(mounting: "Mounting") -> None:
    """By how much the pictures were turned, where they were, or it is not clear."""
    if mounting.rotation or mounting.unclear:
        say(f"camera: {mounting.sentence}", style="yellow" if mounting.unclear else None)


def say_losses(skipped: dict[str, int], first_errors: dict[str, str], notes: dict[str, int]) -> None:
    """A line for each reason that cost frames, and for each note."""
    for reason, count in skipped.items():
        say(f"skipped {count}: {reason} (first: {first_errors.get(reason, reason)})", style="yellow")
    for note, count in notes.items():
        say(f"note: {note}" + (f" ({count} times)" if count > 1 else ""), style="yellow")
