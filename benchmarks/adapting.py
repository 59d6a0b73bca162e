"""What `vpr_ros adapt` brings on rendered streets: its own figures, and drives that it has not seen.

Drives, conditions and cameras are those of `teaching_drives.py`, in areas that nothing was developed on. Each area is
adapted as the command does it, from a kilometre by day and one at night with another camera and another LiDAR, a frame
every metre: once by poses (`--pairs poses`; where a bag has both, `auto` does this, too) and once by LiDAR and odometry
without poses (`--pairs lidar`). A row has Recall@1 between these drives by the start, by students that were trained
without the query's stretch, and by the result, with the interval of what is gained on stretches kept out; then of
drives under conditions that were not trained, against the map by day: in these streets (`new`) and the mean of the
other areas (`other`), by the start and by the result. A match counts within 10 m, and drives are compared less their
means. The last columns are seconds of CPU and of the clock for the adaptation from bags to checkpoint.

With `--data` (the folder of `real_sets.py`) it adapts to a real railway instead, every sixth picture of which is a
place by its number (±1), and asks about a corridor (±2), which nothing learned from.

    python benchmarks/adapting.py --out runs/adapting
    python benchmarks/adapting.py --out runs/adapting --data FOLDER
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from real_sets import railway
from teaching_drives import ASKED, MAP, SPACING_M, planned

from vpr_ros import pictures
from vpr_ros.sensors.bags.config import DriveTopics
from vpr_ros.sensors.picture_files import list_pictures
from vpr_ros.student import Checkpoint, read_checkpoint
from vpr_ros.training.adapt.frames import FramesFromBags, Pairs, own_samples
from vpr_ros.training.adapt.kept import kept_maps
from vpr_ros.training.adapt.learning import LearningConfig
from vpr_ros.training.adapt.measure import Crossings
from vpr_ros.training.adapt.places import PlaceSize
from vpr_ros.training.adapt.reduced import Reduced
from vpr_ros.training.adapt.run import AdaptConfig, adapt
from vpr_ros.training.data.sample import METRES, Modality, Sample, SampleSet
from vpr_ros.training.synthetic.bags import TRUTH_TOPIC, write_drive_bag
from vpr_ros.training.synthetic.kinds import kind_of

AREAS = {f"{kind_of(seed)} {seed}": seed for seed in (102081, 202081)}
OTHERS = {f"{kind_of(seed)} {seed}": seed for seed in (2081,)}  # only asked
NIGHT = "night"
LENGTH_M, OWN_SPACING_M = 1000.0, 1.0
SIZE = PlaceSize()
KINDS: tuple[Pairs, ...] = ("poses", "lidar")
COLUMNS = (
    "queries",
    "start",
    "kept out",
    "gained",
    "learned",
    "new: start",
    "adapted",
    "other",
    "adapted",
    "CPU s",
    "s",
)
HEADER = f"{'area':<18}{'pairs':<8}" + "".join(f"{name:>{24 if name == 'gained' else 13}}" for name in COLUMNS)


@contextmanager
def silent(_label: str, _total: int | None):
    yield lambda done, total=None: None


def bag(folder: Path, seed: int, name: str) -> Path:
    """The bag of a drive, rendered where it is missing."""
    path = folder / "bags" / f"{seed}_{name.replace(' ', '_')}"
    if not path.exists():
        spacing_m = OWN_SPACING_M if seed in AREAS.values() and name not in ASKED else SPACING_M
        write_drive_bag(path, planned(seed, name, LENGTH_M, spacing_m))
    return path


class Asking:
    """The drive by day of an area as a map, and those that ask under conditions that were not trained."""

    def __init__(self, folder: Path, seed: int, start: Checkpoint):
        bags, work = [bag(folder, seed, name) for name in (MAP, *ASKED)], folder / "asking" / f"{seed}"
        spaced = PlaceSize(SIZE.radius_m * SPACING_M / SIZE.spacing_m)
        reading = FramesFromBags(DriveTopics(pose=TRUTH_TOPIC), size=spaced, pairs="poses")
        samples = own_samples(bags, work, reading, silent)
        self.maps = kept_maps(samples, start, work / "maps", silent)
        self.crossings = Crossings(samples, SIZE)
        by_day = bags[0].stem
        self.asked = samples.drives[self.crossings.rows] != by_day
        self.asked &= (self.crossings.pairs == by_day).any(axis=1)

    def recall(self, model: Reduced) -> float:
        return float(self.crossings.answers(model.describe(self.maps), model.start.lengths).right[self.asked].mean())


def row(
    folder: Path, area: str, kind: Pairs, start: Checkpoint, asking: dict[str, Asking], learning: LearningConfig
) -> list[str]:
    """The cells of one area."""
    seed = AREAS[area]
    bags, out = [bag(folder, seed, name) for name in (MAP, NIGHT)], folder / f"{seed}_{kind}.safetensors"
    reading = FramesFromBags(DriveTopics(pose=TRUTH_TOPIC), size=SIZE, pairs=kind)
    config, work = AdaptConfig(learning, SIZE, keep_worse=True), folder / "work" / f"{seed}_{kind}"
    cpu, clock = time.process_time(), time.monotonic()
    samples = own_samples(bags, work, reading, silent)
    adapted = adapt(samples, start, out, config, work, silent, lambda _: None, print)
    cpu, clock = time.process_time() - cpu, time.monotonic() - clock
    own, before = read_checkpoint(out), Reduced(start.model, start.projection)
    after = Reduced(own.model, own.projection)
    others = [one for name, one in asking.items() if name != area]
    whole, gain = adapted.measured.rows()[-1], adapted.measured.gain
    gained = "" if gain is None else f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
    recalls = [asking[area].recall(model) for model in (before, after)]
    recalls += [float(np.mean([one.recall(model) for one in others])) for model in (before, after)]
    return [
        f"{whole.queries:>13}{whole.before:>13.3f}{whole.kept_out:>13.3f}{gained:>24}{whole.learned:>13.3f}",
        *(f"{recall:>13.3f}" for recall in recalls),
        f"{cpu:>13.0f}{clock:>13.0f}",
    ]


class Walks(SampleSet):
    """Two traverses whose i-th pictures show one place: their numbers are their positions, in metres."""

    cloud_unit = METRES

    def __init__(self, name: str, traverses: dict[str, list[Path]]) -> None:
        self.name, self._paths = name, [path for paths in traverses.values() for path in paths]
        numbers = np.concatenate([np.arange(len(paths)) for paths in traverses.values()])
        self.positions_m = np.column_stack([numbers, np.zeros(len(numbers))]).astype(float)
        self.headings_rad = np.zeros(len(numbers))
        self.drives = np.repeat(list(traverses), [len(paths) for paths in traverses.values()])
        self.areas, self.conditions = np.full(len(numbers), name), self.drives
        self.stamps_ns = numbers.astype(np.int64) * 10**9

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        return Sample(pictures.pixels_of(self._paths[row].read_bytes()), None, None, int(self.stamps_ns[row]))


def real(options, start: Checkpoint, learning: LearningConfig) -> None:
    """Print what adapting to the railway gains on stretches of it kept out, and loses in the corridor."""
    seasons = [options.data / "nordland_thumbs" / name for name in ("summer", "winter")]
    parts = railway(*seasons)
    names = parts["railway development"] + parts["railway held out"]
    line = Walks("railway", {folder.name: [folder / name for name in names] for folder in seasons})
    walks = [list_pictures(options.data / "corridor" / name) for name in ("ref", "query")]
    corridor = Walks("corridor", dict(zip(("ref", "query"), walks, strict=True)))
    size, work, out = PlaceSize(1.0), options.out / "railway", options.out / "railway.safetensors"
    cpu = time.process_time()
    adapted = adapt(
        *(line, start, out, AdaptConfig(learning, size, keep_worse=True), work),
        *(silent, lambda _: None, print),
    )
    cpu = time.process_time() - cpu
    print(f"railway: {adapted.measured.sentence}; {cpu:.0f} s of CPU")
    crossings, maps, own = (
        Crossings(corridor, PlaceSize(2.0)),
        kept_maps(corridor, start, work, silent),
        read_checkpoint(out),
    )
    for name, model in (
        ("start", Reduced(start.model, start.projection)),
        ("adapted", Reduced(own.model, own.projection)),
    ):
        right = crossings.answers(model.describe(maps), model.start.lengths).right
        print(f"corridor, {name}: {right.mean():.3f} of {len(right)} queries")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/adapting"))
    parser.add_argument("--data", type=Path, help="folder with corridor/ and nordland_thumbs/: adapt to real pictures")
    parser.add_argument("--start", default="nano")
    parser.add_argument("--pairs", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--areas", nargs="+", choices=list(AREAS), default=list(AREAS))
    parser.add_argument("--steps", type=int, default=LearningConfig.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    start, learning = read_checkpoint(options.start), LearningConfig(options.steps, seed=options.seed)
    if options.data is not None:
        real(options, start, learning)
        return
    asking = {area: Asking(options.out, seed, start) for area, seed in (AREAS | OTHERS).items()}
    print(HEADER, flush=True)
    for area in options.areas:
        for kind in options.pairs:
            cells = row(options.out, area, kind, start, asking, learning)
            print(f"{area:<18}{kind:<8}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
