"""What stated probabilities are worth: in rendered worlds that nothing was fitted on, off the map, and on photos.

Rendered: six test worlds (three cities, streets of one builder, country roads, a corridor), mapped by day with a camera
of their own, and driven in each condition with the map's camera (`fixed`) and another one of another picture size
(`differing`); after 100 frames on the map every robot drives on where the map does not reach, in another world of its
kind. `off the map`: each map is asked about all drives of the other worlds, one after the other. The demo's two drives
follow. Photos: two walks of a corridor (right: at most two frames apart) and every sixth picture of a railway's
first half in summer and winter (right: at most two of these apart, which is the place of a map without poses;
`exact` counts the very picture), and each map is asked about the other set and about single photos of a city.

Every picture goes through the live core: mapped, then localised with odometry and without. Nothing is fitted here.
`mid`: frames whose most probable place is stated between 0.3 and 0.9, how probable on average, and how often right.
`false`, `max p` and `> 0.8` are on frames off the map; `precision` counts acceptance there as wrong. The last columns
are with `accept_precision` 0.99 instead of the default: from which probability on, what is accepted, how precise;
`R@P1` is the recall at a precision of 100 %, `confirmed` and `false conf.` count what `--verify` agreed with.
Pictures of precision and of reliability are written to OUT.

    python benchmarks/probabilities.py --data FOLDER              # all; renders into OUT/worlds once
    python benchmarks/probabilities.py --data FOLDER --only real  # three minutes, no renderer
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from probability_drives import RememberingExtractor, StoredDrive, ask, folder_drive, joined, keep, make_map
from probability_figures import Frames, figures, header, line, off_the_map, write_pictures
from real_sets import railway

from vpr_ros.evaluation.truth import truth_from_frames, truth_from_poses
from vpr_ros.place_map import PlaceMap
from vpr_ros.runtime.settings import PLACE_RADIUS_FRAMES, PLACE_RADIUS_M
from vpr_ros.training.synthetic.conditions import (
    CameraConfig,
    indoor_camera,
    named_conditions,
    random_camera,
    remounted_camera,
    resized_camera,
)
from vpr_ros.training.synthetic.demo import DemoConfig, map_drive, query_drive
from vpr_ros.training.synthetic.drive import Drive, plan_drive
from vpr_ros.training.synthetic.kinds import FIRST_TEST_SEED, WorldKind, kind_of, scale_of, world_seed

WORLDS: tuple[WorldKind, ...] = ("city", "city", "city", "repetitive", "sparse", "corridor")
FIRST_WORLD = FIRST_TEST_SEED + 30  # other benchmarks have other worlds
FIRST_AWAY = FIRST_TEST_SEED + 60  # worlds that robots drive on in
CONDITIONS = ("day", "dusk", "night", "winter", "rain")
CAMERAS = ("fixed", "differing")
LENGTH_M, AWAY_M, MAP_SPACING_M, SPACING_M, SPEED_MPS = 300.0, 180.0, 2.5, 3.0, 8.0  # in streets
WIDTH = 34


def map_camera(seed: int) -> CameraConfig:
    """The camera that a world is mapped with: unlike those of validation drives, and of another world's map."""
    camera = random_camera(np.random.default_rng([seed, 73]), 240, 180)
    return replace(camera, grey=False, blur_px=0.0, exposure_ev=0.0)


def cameras(seed: int) -> dict[str, CameraConfig]:
    """The map's camera and another one."""
    fixed = map_camera(seed)
    other = resized_camera(remounted_camera(fixed, seed), np.random.default_rng([seed, 75]))
    both = {"fixed": fixed, "differing": other}
    return {name: indoor_camera(c) for name, c in both.items()} if kind_of(seed) == "corridor" else both


def plan(seed: int, condition: str, number: int, camera: CameraConfig, length_m: float, spacing_m: float) -> Drive:
    """A drive through a world; its lengths are for streets."""
    s = scale_of(seed)
    conditions = named_conditions(condition, number, lane_offset_m=0.4 if number else 0.0)
    return plan_drive(seed, conditions, camera, None, length_m * s, spacing_m * s, SPEED_MPS * s)


@dataclass(frozen=True)
class World:
    """A test world on disk, rendered where it is missing."""

    seed: int
    away: int  # the world that its robots drive on in
    folder: Path

    @property
    def name(self) -> str:
        return f"{kind_of(self.seed)} {self.seed}"

    def _keep(self, name: str, drive: Drive) -> StoredDrive:
        return keep(self.folder / f"{self.seed}" / name, drive, scale_of(self.seed))

    @cached_property
    def map_drive(self) -> StoredDrive:
        return self._keep("map", plan(self.seed, "day", 0, cameras(self.seed)["fixed"], LENGTH_M, MAP_SPACING_M))

    @cached_property
    def drives(self) -> dict[tuple[str, str], StoredDrive]:
        """By condition and camera."""
        return {
            (condition, lens): self._keep(
                f"{condition}_{lens}", plan(self.seed, condition, 60 + number, camera, LENGTH_M, SPACING_M)
            )
            for number, condition in enumerate(CONDITIONS)
            for lens, camera in cameras(self.seed).items()
        }

    @cached_property
    def away_drives(self) -> dict[str, StoredDrive]:
        """By condition, in the other world, with the map's camera."""
        camera = cameras(self.seed)["fixed"]
        return {
            condition: self._keep(
                f"away_{condition}", plan(self.away, condition, 80 + number, camera, AWAY_M, SPACING_M)
            ).elsewhere()
            for number, condition in enumerate(CONDITIONS)
        }

    def all_drives(self) -> Iterator[StoredDrive]:
        yield self.map_drive
        yield from self.drives.values()
        yield from self.away_drives.values()


class Table:
    """Prints rows as they come, and keeps them."""

    def __init__(self, out: Path):
        self.out, self.rows = out, {}

    def section(self, title: str) -> None:
        print(f"\n{title}\n{header(WIDTH)}", flush=True)
        self._section = title

    def add(self, name: str, frames: Frames, note: str = "", drawn: bool = False) -> None:
        row = figures(frames)
        self.rows[f"{self._section}: {name}"] = row
        print(line(name, row, WIDTH) + (f"  {note}" if note else ""), flush=True)
        if drawn:
            write_pictures(self.out / "pictures", f"{self._section} {name}".replace(" ", "_").replace(",", ""), frames)


def posed_run(path: Path, mapped: StoredDrive, drive: StoredDrive, extractor, with_odometry: bool) -> Frames:
    """A drive against the map of another one; true poses of both decide what is right."""
    assert drive.T_true is not None and mapped.T_true is not None
    with PlaceMap.open(path) as place_map:
        keyframes = place_map.poses()
    places = mapped.T_true[np.searchsorted(mapped.stamps_ns, keyframes.stamps_ns)]
    truth = truth_from_poses(drive.T_true, keyframes.ids, places, PLACE_RADIUS_M * drive.scale)
    return Frames.of(ask(path, drive, extractor, with_odometry), truth)


def rendered(options, extractor, table: Table) -> None:
    """All conditions of all test worlds, and everything else off their maps."""
    worlds = [
        World(world_seed(kind, FIRST_WORLD + i), world_seed(kind, FIRST_AWAY + i), options.out / "worlds")
        for i, kind in enumerate(WORLDS)
        if i in options.worlds
    ]
    maps = {}
    for world in worlds:
        started = time.perf_counter()
        frames = sum(len(drive) for drive in world.all_drives())
        rendered_s = time.perf_counter() - started
        maps[world] = options.out / f"{world.seed}.vpr"
        make_map(maps[world], world.map_drive, extractor)
        print(f"{world.name}: {frames} frames, {rendered_s:.0f} s to render or read", flush=True)
    for with_odometry in (reading == "with" for reading in options.readings):
        how = "with odometry" if with_odometry else "without odometry"
        if "drives" in options.rendered:
            on_maps(worlds, maps, extractor, table, how, with_odometry)
        if "foreign" in options.rendered:
            off_maps(worlds, maps, extractor, table, how, with_odometry, options.foreign_every)


def on_maps(worlds: list[World], maps: dict, extractor, table: Table, how: str, with_odometry: bool) -> None:
    """Each world's own drives, which leave the map at their end."""
    found: dict[tuple[World, str, str], Frames] = {}
    for world in worlds:
        for (condition, lens), drive in world.drives.items():
            driven = joined([drive, world.away_drives[condition]])
            found[world, condition, lens] = posed_run(maps[world], world.map_drive, driven, extractor, with_odometry)
        extractor.save()
    table.section(f"worlds, {how}")
    for lens in CAMERAS:
        for condition in CONDITIONS:
            part = [frames for (_, *key), frames in found.items() if key == [condition, lens]]
            table.add(f"{condition}, {lens}", Frames.together(part))
    for world in worlds:
        parts = [frames for (one, *_), frames in found.items() if one is world]
        table.add(world.name, Frames.together(parts), drawn=True)
    table.add("all", Frames.together(list(found.values())), drawn=True)


def off_maps(
    worlds: list[World], maps: dict, extractor, table: Table, how: str, with_odometry: bool, every: int
) -> None:
    """What each map says of the other worlds' drives, or of every n-th of them, of each world another n-th."""
    table.section(f"off the map, {how}")
    parts, hours, distinct = [], 0.0, {path for world in worlds for d in world.all_drives() for path in d.images}
    for world in worlds:
        others = [other for other in worlds if other is not world]
        foreign = [d for i, other in enumerate(others) for d in list(other.all_drives())[i % every :: every]]
        chain = joined([replace(d, scale=world.map_drive.scale) for d in (*world.away_drives.values(), *foreign)])
        parts.append(Frames.of(ask(maps[world], chain, extractor, with_odometry), off_the_map(len(chain))))
        table.add(world.name, parts[-1], note=f"{chain.hours:.2f} h")
        hours += chain.hours
    table.add("all", Frames.together(parts), note=f"{hours:.1f} h of driving, {len(distinct)} distinct pictures")


def demo(options, extractor, table: Table) -> None:
    """The two drives of `vpr_ros demo`."""
    config, folder = DemoConfig(), options.out / "worlds" / "demo"
    first, second = keep(folder / "map", map_drive(config), 1.0), keep(folder / "query", query_drive(config), 1.0)
    path = options.out / "demo.vpr"
    make_map(path, first, extractor)
    table.section("demo")
    for with_odometry in (True, False):
        name = "with odometry" if with_odometry else "without odometry"
        table.add(name, posed_run(path, first, second, extractor, with_odometry), drawn=True)


def real(options, extractor, table: Table) -> None:
    """Photos: what each map says to the second traverse, to the other set, and to single photos."""
    corridor = [options.data / "corridor" / role for role in ("ref", "query")]
    seasons = [options.data / "nordland_thumbs" / season for season in ("summer", "winter")]
    names = railway(*seasons)["railway development"]
    sets = {
        "corridor": [folder_drive([folder]) for folder in corridor],
        "railway": [folder_drive([folder], names) for folder in seasons],
    }
    single = folder_drive([options.data / "sf_toy" / role for role in ("database", "queries")])
    table.section("photos")
    tolerance = int(PLACE_RADIUS_FRAMES)
    for name, (reference, query) in sets.items():
        path = options.out / f"{name}.vpr"
        make_map(path, reference, extractor)
        with PlaceMap.open(path) as place_map:
            ids = place_map.keyframes().ids
        rows = np.arange(len(query))
        answers = ask(path, query, extractor, False)
        frames = Frames.of(answers, truth_from_frames(rows, ids, np.arange(len(ids)), tolerance))
        exact = Frames.of(answers, truth_from_frames(rows, ids, np.arange(len(ids)), 0))
        table.add(name, frames, drawn=True)
        table.add(f"{name}, exact", exact)
        for other, drives in {**sets, "single photos": [single]}.items():
            if other != name:
                parts = [Frames.of(ask(path, d, extractor, False), off_the_map(len(d))) for d in drives]
                table.add(f"{name} asked about {other}", Frames.together(parts))
        extractor.save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of photos: corridor, nordland_thumbs, sf_toy")
    parser.add_argument("--out", type=Path, default=Path("runs/probabilities"))
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument(
        "--local-features", default="auto", help="that queries are compared by; none: descriptors alone"
    )
    parser.add_argument("--verify", choices=["none", "camera"], default="none", help="what is accepted by default")
    parser.add_argument("--only", choices=["rendered", "demo", "real"], help="one part instead of all three")
    every = range(len(WORLDS))
    parser.add_argument("--worlds", type=int, nargs="+", default=every, choices=every, help="numbers of test worlds")
    parser.add_argument("--readings", nargs="+", default=["with", "without"], help="with odometry, without, both")
    parser.add_argument("--rendered", nargs="+", default=["drives", "foreign"], help="each world's drives, the others'")
    parser.add_argument("--foreign-every", type=int, default=1, help="ask about every n-th of the others' drives")
    options = parser.parse_args()
    if options.data is None and options.only in (None, "real"):
        parser.error("name the folder of photos with --data, or another part with --only")
    options.out.mkdir(parents=True, exist_ok=True)
    extractor = RememberingExtractor(
        options.checkpoint, options.out / "descriptors", options.local_features, options.verify
    )
    table = Table(options.out)
    started = time.perf_counter()
    for name, part in (("real", real), ("demo", demo), ("rendered", rendered)):
        if options.only in (None, name):
            part(options, extractor, table)
            extractor.save()
    (options.out / "probabilities.json").write_text(json.dumps(table.rows, indent=1))
    print(
        f"\n{extractor.fingerprint[:12]}, {(time.perf_counter() - started) / 60:.1f} minutes; pictures in {options.out}"
    )


if __name__ == "__main__":
    main()
