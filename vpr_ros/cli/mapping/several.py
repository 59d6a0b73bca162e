"""Several bags into one map, on this machine or on a cluster."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vpr_ros.cli.console import Progress, say
from vpr_ros.cli.outcome.interrupts import interrupts_say
from vpr_ros.cli.outcome.losses import say_losses, say_mounting
from vpr_ros.errors import VprError
from vpr_ros.runtime.settings import PipelineConfig

if TYPE_CHECKING:
    from vpr_ros.offline.map_bag import MapBagConfig
    from vpr_ros.offline.parts.part import PartResult


def map_several(
    bags: list[Path], output: Path, core: PipelineConfig, config: "MapBagConfig", jobs: int, engine: str, strict: bool
) -> None:
    """Map bags into one map and say what became of each. VprError in the end where some are not in the map."""
    if engine == "ray" and jobs > 1:
        raise VprError("--jobs is for --engine local: how many bags a cluster maps at once is Ray's choice.")
    for given, name in ((core.gate.known_lead, "--known-lead"), (core.session or None, "--session")):
        if given is not None:
            raise VprError(f"{name} is for one drive at a time: map the bags in calls of their own.")
    from vpr_ros.offline.parts.cluster import on_ray, require_ray
    from vpr_ros.offline.parts.joining import map_bags, parts_folder
    from vpr_ros.offline.parts.processes import in_processes
    from vpr_ros.runtime.opening import load_extractor, network_phrase

    if engine == "ray":
        require_ray()
    extractor = load_extractor(core, config.batch_size)
    kept = f"what is done of the bags stands in '{parts_folder(output)}', and the same command goes on from there"
    with interrupts_say(kept), Progress("mapping bags", len(bags)) as progress:

        def told(result: "PartResult", done: int) -> None:
            _say_part(result)
            progress(done)

        make = on_ray if engine == "ray" else partial(in_processes, jobs=jobs)
        result = map_bags(bags, output, extractor, core, config, make, told, strict)
    for some, what in ((result.known, "in the map already"), (result.reused, "mapped by an earlier call")):
        if some:
            say(f"{what}: {', '.join(bag.name for bag in some)}")
    sessions, where = _count(result.sessions, "session"), "on Ray" if engine == "ray" else _count(jobs, "job")
    say(
        f"{output}: {result.keyframes} keyframes saved of {result.frames} frames, {sessions}, "
        f"{result.fps:.1f} frames/s ({network_phrase(extractor)}, {where})"
    )
    if result.failures:
        named = "; ".join(f"{bag.name}: {sentence.rstrip('.')}" for bag, sentence in result.failures.items())
        raise VprError(
            f"{len(result.failures)} of {len(bags)} bags are not in {output} ({named}); when they are mended, the same "
            "command adds them."
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _say_part(result: "PartResult") -> None:
    name, mapped = result.bag.name, result.mapped
    for sentence in result.losses:
        say(f"{name}: {sentence}", style="yellow")
    if mapped is None:
        say(f"{name}: failed: {result.failure}", style="yellow")
        return
    say(f"{name}: {mapped.keyframes} keyframes of {mapped.frames} frames, {mapped.fps:.1f} frames/s")
    say_mounting(mapped.mounting)
    say_losses(mapped.skipped, mapped.first_errors, mapped.notes)


def say_what_is_there(map_file: Path, bag: Path) -> None:
    """A line where a map has keyframes of this very bag, as of a drive that was killed."""
    from vpr_ros.place_map import PlaceMap

    with PlaceMap.open(map_file) as place_map:
        keyframes = place_map.poses()
        for session in place_map.sessions():
            count = int((keyframes.sessions == session.id).sum())
            if count and session.source == str(bag.absolute()):
                say(
                    f"{map_file} has {count} keyframes of this bag already, in session {session.id} '{session.name}'. "
                    "They stay beside the new ones: "
                    f"`vpr_ros prune {map_file} --drop-session {session.id}` removes them.",
                    style="yellow",
                )
