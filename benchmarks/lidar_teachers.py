"""LiDAR teachers without training: a polar grid against MinkLoc++'s cloud branch, on scanners that neither has seen.

World: 12 test worlds (three of each kind, numbers 2060 to 2062). A map of 150 scans of one scanner on a clear day, and
one drive of 50 scans for every thing that is changed. The network learnt from 125 train worlds of four drives, each
with another scanner (`varied_lidar`); its settings were chosen on validation worlds (numbers 1060 to 1062), as the
grid's were: `--sweep` shows that choice instead. What exists in the folder is not made again.

    python benchmarks/lidar_teachers.py --out runs/lidar_teachers --data FOLDER
    python benchmarks/lidar_teachers.py --out runs/lidar_teachers --sweep
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from lidar_real import like_first, like_first_grid, real_table
from lidar_scans import CHANGES, INDOORS, MAP, Scans, render_world, seeds_of, test_drives, training_drives
from scipy.stats import rankdata

from vpr_ros.atomic import whole_text
from vpr_ros.evaluation.paired import paired_difference
from vpr_ros.evaluation.ranking import first_ranks
from vpr_ros.lidar import PolarGridConfig
from vpr_ros.training.synthetic.kinds import KINDS, kind_of
from vpr_ros.training.teachers import Teacher, load_teacher

TRAIN = seeds_of(400, {"city": 45, "repetitive": 30, "sparse": 30, "corridor": 20})
VALIDATION = seeds_of(1060, dict.fromkeys(KINDS, 3))
TEST = seeds_of(2060, dict.fromkeys(KINDS, 3))
DRIVES, FRAMES, MOST_POINTS = 4, 50, 5000  # of a train world
MAP_SCANS, QUERIES = 150, 50
RADII_M = (10.0, 5.0)  # in a street; a tenth in a corridor
GRADED_M = 40.0  # so far a street's relations are graded
FLOOR_M = 0.3  # the network sees what the grid sees: nothing of the ground, whose rings are the scanner's
NETWORK = {
    "dim": 256,
    "voxel_size": 1.5,
    "cloud_points": 4096,
    "thinning": "random",
    "cloud_planes": [32, 64, 64],
}
EPOCHS = 12
# What differs from the grid that pairs are named by, one thing at a time; a tuple: queries from so far beside, m.
SWEEP: dict[str, dict | tuple] = {
    "as it is": {},
    "10 rings": {"rings": 10},
    "40 rings": {"rings": 40},
    "30 sectors": {"sectors": 30},
    "120 sectors": {"sectors": 120},
    "35 m": {"range_m": 35.0},
    "50 m": {"range_m": 50.0},
    "100 m": {"range_m": 100.0},
    "floor 0.1 m": {"floor_m": 0.1},
    "floor 0.6 m": {"floor_m": 0.6},
    "ceiling 6 m": {"ceiling_m": 6.0},
    "ceiling 20 m": {"ceiling_m": 20.0},
    "from 1 m beside": (-1.0, 1.0),
    "from 2 m beside": (-2.0, 2.0),
    "from 3 m beside": (-3.0, 3.0),
    "from 2 and 4 m beside": (-4.0, -2.0, 2.0, 4.0),
    "blurred by 0.35 cells": {"blur_cells": 0.35},
    "blurred by 0.7 cells": {"blur_cells": 0.7},
    "blurred by 1.4 cells": {"blur_cells": 1.4},
}
Method = Callable[[Path], tuple[Teacher, list[Scans]]]  # a world -> the scans, and the queries from beside
Figure = dict[str, list[float]]  # change -> R@1 within each radius, nan where no scan of the map lies within it


def train(out: Path, epochs: int) -> Path:
    """The network's checkpoint, trained unless it exists."""
    from vpr_ros.training.common.yaml_config import with_settings
    from vpr_ros.training.data.augment.clouds import CloudAugmentConfig
    from vpr_ros.training.teacher.config import TeacherConfig, check
    from vpr_ros.training.teacher.train import CHECKPOINT, train_teacher

    path = out / "network" / CHECKPOINT
    if path.exists():
        return path
    settings = {
        "model.teacher": "minkloc++-cloud",
        "model.options": NETWORK,
        "model.sparse": "torch",
        "task.loss": "contrastive",
        "task.head_weights": {"final": 1.0},
        "optimisation.epochs": epochs,
        "optimisation.milestones": (max(1, round(0.7 * epochs)),),
        "optimisation.decay": 0.2,
        "optimisation.learning_rate": 2e-3,
        "data.batch_size": 64,
        "data.areas_per_batch": 2,
        "data.batch_growth": 1.0,
        "augmentation.clouds": CloudAugmentConfig(
            jitter=0.05,
            jitter_clip=0.1,
            remove=0.0,
            translation=0.3,
            block=0.0,
            rotation_deg=30.0,
            flip_x=0.0,
            flip_y=0.0,
            turn_per="cloud",
        ),
        "hardware.threads": 1,
        "hardware.accelerator": "cpu",
    }
    samples = Scans([out / "train" / f"{seed}.npz" for seed in TRAIN], "train", enlarge=True, floor_m=FLOOR_M)
    started = time.process_time()
    train_teacher(check(with_settings(TeacherConfig(), settings)), path.parent, samples=samples)
    print(f"{len(samples)} scans, {epochs} epochs: {time.process_time() - started:.0f} s of CPU time", flush=True)
    return path


def grid(options: dict, beside_m: Sequence[float] = ()) -> Method:
    """A polar grid that is not blurred unless `options` say so; within buildings with a quarter of the range."""

    def method(path: Path) -> tuple[Teacher, list[Scans]]:
        shorter = INDOORS if kind_of(int(path.stem)) == "corridor" else 1.0
        range_m = shorter * options.get("range_m", PolarGridConfig.range_m)
        model = load_teacher("polar-grid", **{"blur_cells": 0.0, **options, "range_m": range_m})
        return model, [Scans([path], "scans", beside_m=shift) for shift in (0.0, *beside_m)]

    return method


def network(model: Teacher) -> Method:
    return lambda path: (model, [Scans([path], "scans", enlarge=True, floor_m=FLOOR_M)])


def measured(path: Path, method: Method) -> dict:
    """Of a world: `R@1` of every query drive, `rank correlation` of products with nearness, `ms` of CPU time to
    describe a scan, and `us` to compare two."""
    from vpr_ros.training.evaluation.embedding import embed

    model, copies = method(path)
    scans = copies[0]
    started = time.process_time()
    found = [embed(model, copy, 64) for copy in copies]
    spent, paired, pairs = time.process_time() - started, 0.0, 0
    recalls: Figure = {}
    correlations = []
    of_map = np.flatnonzero(scans.conditions == MAP)
    for change in CHANGES:
        asked = np.flatnonzero(scans.conditions == change)
        if not len(asked):
            continue
        started = time.process_time()
        similarities = np.max([model.similarities(f[asked], found[0][of_map]) for f in found], axis=0)
        paired, pairs = paired + time.process_time() - started, pairs + similarities.size
        gaps = np.linalg.norm(scans.positions_m[asked][:, None] - scans.positions_m[of_map], axis=2)
        ranks = [first_ranks(-similarities, gaps <= radius) for radius in RADII_M]
        recalls[change] = [float((r[r > 0] == 1).mean()) if (r > 0).any() else np.nan for r in ranks]
        if not CHANGES[change].reverse:
            products = found[0][asked] @ found[0][of_map].T
            near = gaps < GRADED_M
            for product, gap, kept in zip(products, gaps, near, strict=True):
                ranked = rankdata(product[kept]), rankdata(-gap[kept])
                correlations.append(np.corrcoef(*ranked)[0, 1] if np.ptp(product[kept]) else 0.0)
    return {
        "R@1": recalls,
        "rank correlation": float(np.mean(correlations)),
        "ms": 1e3 * spent / len(scans),
        "us": 1e6 * paired / pairs,
    }


def figures(folder: Path, worlds: Sequence[Path], methods: dict[str, Method]) -> dict[str, dict[int, dict]]:
    """What is `measured` by method and world, kept in `folder`."""
    found: dict[str, dict[int, dict]] = {}
    for name, method in methods.items():
        for path in worlds:
            noted = folder / f"{name.replace(' ', '_')}-{path.stem}.json"
            if not noted.exists():
                noted.parent.mkdir(parents=True, exist_ok=True)
                with whole_text(noted) as stream:
                    json.dump(measured(path, method), stream)
            found.setdefault(name, {})[int(path.stem)] = json.loads(noted.read_text())
    return found


def recall(of_worlds: dict[int, dict], change: str, which: int) -> np.ndarray:
    """R@1 by world, without those that lack the change."""
    values = [found["R@1"][change][which] for found in of_worlds.values() if change in found["R@1"]]
    return np.array(values)[np.isfinite(values)]


def cell(values: np.ndarray) -> str:
    """The median world, and the worst."""
    return f"{np.median(values):.2f} ({values.min():.2f})" if len(values) else "–"


def table(found: dict[str, dict[int, dict]]) -> str:
    """R@1 within both radii by change, the median world and the worst; below what a method costs."""
    names = [f"{name}, {radius:g} m" for name in found for radius in RADII_M]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for change in CHANGES:
        cells = [cell(recall(worlds, change, which)) for worlds in found.values() for which in range(len(RADII_M))]
        lines.append(f"| {change} | " + " | ".join(cells) + " |")
    means = {
        name: [np.concatenate([recall(worlds, change, which) for change in CHANGES]).mean() for which in (0, 1)]
        for name, worlds in found.items()
    }
    lines.append("| mean of all | " + " | ".join(f"{v:.3f}" for both in means.values() for v in both) + " |")
    for name, worlds in found.items():
        means_of = []
        for kind in KINDS:
            of_kind = {seed: world for seed, world in worlds.items() if kind_of(seed) == kind}
            means_of.append(f"{kind} {np.concatenate([recall(of_kind, c, 0) for c in CHANGES]).mean():.3f}")
        ms, us = (np.median([w[key] for w in worlds.values()]) for key in ("ms", "us"))
        lines.append(f"\n{name}: within 10 m {', '.join(means_of)}; {ms:.2f} ms a scan, {us:.1f} µs a pair")
    return "\n".join(lines)


def ahead(first: dict[int, dict], second: dict[int, dict]) -> str:
    """By how much the first method is ahead of the second, over worlds, and in which cells it is behind."""
    means = [
        {str(seed): float(np.mean([recall({seed: world}, change, 0) for change in world["R@1"]])) for seed, world in m}
        for m in (first.items(), second.items())
    ]
    cells = [(seed, change) for seed, world in first.items() for change in world["R@1"]]
    behind = [c for c in cells if first[c[0]]["R@1"][c[1]][0] < second[c[0]]["R@1"][c[1]][0]]
    named = ", ".join(f"{seed} {change}" for seed, change in behind)
    return f"{paired_difference(*means)}; behind in {len(behind)} of {len(cells)}: {named}"


def sweep_table(found: dict[str, dict[int, dict]]) -> str:
    """Means over worlds and changes, and how well products follow nearness, which relations are taught by."""
    lines = ["| | R@1 within 10 m | within 5 m | rank correlation |", "|---|---|---|---|"]
    for name, worlds in found.items():
        cells = [np.mean(np.concatenate([recall(worlds, change, which) for change in CHANGES])) for which in (0, 1)]
        cells.append(np.mean([w["rank correlation"] for w in worlds.values()]))
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in cells) + " |")
    return "\n".join(lines)


def rendered(folder: Path, worlds: Sequence[int], queries: int) -> list[Path]:
    for seed in worlds:
        render_world(folder / f"{seed}.npz", seed, test_drives(seed, MAP_SCANS, queries))
    return [folder / f"{seed}.npz" for seed in worlds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/lidar_teachers"))
    parser.add_argument("--data", type=Path, help="folder with real scans, kitti_scans and kitti_frames in it")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--sweep", action="store_true", help="the grid's constants on validation worlds, nothing else")
    options = parser.parse_args()
    out: Path = options.out

    import torch

    torch.set_num_threads(1)
    if options.sweep:
        worlds = rendered(out / "validation", VALIDATION, QUERIES // 2)
        methods = {name: grid(how) if isinstance(how, dict) else grid({}, how) for name, how in SWEEP.items()}
        print(sweep_table(figures(out / "sweep", worlds, methods)))
        return
    started = time.process_time()
    for seed in TRAIN:
        render_world(out / "train" / f"{seed}.npz", seed, training_drives(seed, DRIVES, FRAMES), MOST_POINTS)
    worlds = rendered(out / "test", TEST, QUERIES)
    print(f"rendered in {time.process_time() - started:.0f} s of CPU time", flush=True)
    torch.manual_seed(1)
    untrained = load_teacher("minkloc++-cloud", sparse="torch", **NETWORK)
    trained = load_teacher("minkloc++-cloud", train(out, options.epochs), sparse="torch")
    methods = {
        "polar grid": grid({}),
        "from beside": grid({}, (-2.0, 2.0)),
        "of 20 m": grid({"range_m": 20.0}),
        "network": network(trained),
        "untrained": network(untrained),
    }
    found = figures(out / "figures", worlds, methods)
    print(table(found))
    print(f"polar grid − network within 10 m: {ahead(found['polar grid'], found['network'])}")
    if options.data is not None:
        print(real_table(options.data, {"polar grid": like_first_grid, "network": like_first(trained, FLOOR_M)}))


if __name__ == "__main__":
    main()
