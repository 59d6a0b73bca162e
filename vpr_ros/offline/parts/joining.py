"""Bags into one map, mapped side by side and joined in their order: the behind of `vpr_ros map` with several bags."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from vpr_ros.errors import VprError
from vpr_ros.offline.map_bag import MapBagConfig
from vpr_ros.offline.parts.frame import CommonFrame, common_frame
from vpr_ros.offline.parts.part import Network, Part, PartResult, is_made, part_id
from vpr_ros.place_map import PlaceMap, ancestors, append
from vpr_ros.place_map.files import require_folder
from vpr_ros.runtime.opening import Extractor, make_map
from vpr_ros.runtime.settings import PipelineConfig

Engine: TypeAlias = Callable[[Sequence[Part]], Iterator[PartResult]]
"""Makes parts, in any order and anywhere; yields what became of each as soon as it is known."""


@dataclass(frozen=True)
class MapBagsResult:
    """What a run added to its map."""

    keyframes: int  # added
    sessions: int  # added
    frames: int  # read in this run
    seconds: float
    known: tuple[Path, ...]  # bags that the map had already
    reused: tuple[Path, ...]  # bags whose part maps an earlier run had left
    failures: dict[Path, str]  # a sentence for each bag that is not in the map

    @property
    def fps(self) -> float:
        """Frames per second of all machines together, from the first bag's opening to the joined map."""
        return self.frames / max(self.seconds, 1e-9)


def parts_folder(map_path: Path) -> Path:
    """Where the part maps of a run lie until they are in the map."""
    return map_path.with_name(f"{map_path.name}.parts")


def map_bags(
    bags: Sequence[Path],
    map_path: Path,
    extractor: Extractor,
    core: PipelineConfig,
    config: MapBagConfig,
    engine: Engine,
    told: Callable[[PartResult, int], None] | None = None,
    strict: bool = False,
) -> MapBagsResult:
    """Map several bags into one map, new or not, as sessions in the order of `bags`: the same map whatever the engine.

    It is the map that the bags make one after the other, where none fails. Each becomes a part map beside the map; all
    that are made join it in the end, and are removed then. A bag that the map has already, of the same files and
    settings, is left out, and a part map of an earlier run that fits is used: a second call does what is missing.
    `extractor` is the network that `core` names; `told` gets each result with the number of bags that are done.
    Raises VprError for bags that are named twice and for a map that cannot be written; a bag that fails is none of it.
    """
    started, map_path, bags = time.monotonic(), map_path.absolute(), [bag.absolute() for bag in bags]
    twice = next((bag for i, bag in enumerate(bags) if bag in bags[:i]), None)
    if twice is not None:
        raise VprError(f"bag {twice} is named twice: name it once.")
    require_folder(map_path)
    frame = common_frame(bags, map_path, core, config)
    parts = [_part(bag, map_path, extractor, core, config, frame, strict) for bag in bags]
    known = _ids_in(map_path, extractor)
    wanted = [part for part in parts if part.map_id not in known]
    made = {part.bag for part in wanted if is_made(part)}
    results = [PartResult(bag, None) for bag in made]
    frames, failures = 0, dict[Path, str]()
    for result in engine([part for part in wanted if part.bag not in made]):
        results.append(result)
        if result.mapped is None:
            failures[result.bag] = result.failure
        else:
            frames += result.mapped.frames
        if told is not None:
            told(result, len(results))
    added = _join([part for part in wanted if part.bag not in failures], map_path, extractor, failures)
    with suppress(OSError):  # parts that did not fit, or of other settings
        parts_folder(map_path).rmdir()
    return MapBagsResult(
        *added,
        frames,
        time.monotonic() - started,
        tuple(part.bag for part in parts if part.map_id in known),
        tuple(part.bag for part in wanted if part.bag in made),
        {part.bag: failures[part.bag] for part in wanted if part.bag in failures},
    )


def _part(
    bag: Path,
    map_path: Path,
    extractor: Extractor,
    core: PipelineConfig,
    config: MapBagConfig,
    frame: CommonFrame,
    strict: bool,
) -> Part:
    leads = bag == frame.leader
    own = replace(config, session=bag.stem, brings_frame=leads)
    map_id = part_id(bag, extractor.fingerprint, own)
    return Part(
        bag=bag,
        path=parts_folder(map_path) / f"{bag.stem}.{map_id}{'.first' if leads else ''}.vpr",
        map_id=map_id,
        map_path=map_path,
        datum=frame.datum,
        place_radius_m=frame.place_radius_m,
        config=own,
        network=Network(str(core.checkpoint), core.device, core.precision, core.threads, extractor.fingerprint),
        strict=strict,
    )


def _ids_in(map_path: Path, extractor: Extractor) -> frozenset[str]:
    """Ids of the part maps that a map has taken in. VprError for a map of another model."""
    if not map_path.exists():
        return frozenset()
    with PlaceMap.open(
        map_path, fingerprint=extractor.fingerprint, dim=extractor.dim, model_name=extractor.name
    ) as place_map:
        return ancestors(place_map)


def _join(parts: Sequence[Part], map_path: Path, extractor: Extractor, failures: dict[Path, str]) -> tuple[int, int]:
    """Add part maps to the map, which is made where it is missing; returns how many keyframes and sessions that adds.

    A part that does not fit stays, and becomes a failure.
    """
    if not parts:
        return 0, 0
    known, first = map_path.exists(), parts[0]
    if known:
        opened = PlaceMap.open(map_path, writable=True)
    else:
        opened = make_map(map_path, extractor, first.place_radius_m, first.config.drive.map_frame, first.datum)
    with opened as place_map:
        before = len(place_map), len(place_map.sessions())
        if place_map.datum is None and first.datum is not None:
            place_map.set_datum(first.datum)
        for part in parts:
            try:
                append(place_map, part.path)
            except VprError as error:
                failures[part.bag] = str(error)
            else:
                part.path.unlink()
        after = len(place_map), len(place_map.sessions())
    if not known and not after[0]:
        map_path.unlink()
    return after[0] - before[0], after[1] - before[1]
