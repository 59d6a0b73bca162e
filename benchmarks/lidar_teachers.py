"""LiDAR teachers without training: a polar grid against MinkLoc++'s cloud branch, on scanners that neither has seen.

World: 20 test worlds (five of each kind, numbers 2060 to 2064). A map of 150 scans of one scanner on a clear day, and
one drive of 75 scans for every thing that is changed. The network learnt from 125 train worlds of four drives, each
with another scanner (`varied_lidar`); its settings were chosen on validation worlds (numbers 1060 to 1062), as the
grid's were. What exists in the folder is not made again.

    python benchmarks/lidar_teachers.py --out runs/lidar_teachers --data FOLDER
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from lidar_scans import CHANGES, INDOORS, MAP, Scans, render_world, seeds_of, test_drives, training_drives
from synthetic_tables import save

from vpr_ros.evaluation.metrics import one_percent
from vpr_ros.evaluation.ranking import first_ranks
from vpr_ros.lidar import PolarGridConfig, compare, polar_grids
from vpr_ros.training.synthetic.kinds import KINDS, kind_of

TRAIN = seeds_of(400, {"city": 45, "repetitive": 30, "sparse": 30, "corridor": 20})
TEST = seeds_of(2060, {"city": 5, "repetitive": 5, "sparse": 5, "corridor": 5})
DRIVES, FRAMES, MOST_POINTS = 4, 50, 5000  # of a train world
KITTI_HEIGHT_M = 1.73  # of its scanner above the road
RADIUS_M = 10.0  # in a street; a tenth in a corridor
FLOOR_M = 0.3  # the network sees what the grid sees: nothing of the ground, whose rings are the scanner's
NETWORK = {
    "dim": 256,
    "voxel_size": 1.5,
    "cloud_points": 4096,
    "thinning": "random",
    "cloud_planes": [32, 64, 64],
}
EPOCHS = 12
Similarities = Callable[[np.ndarray, np.ndarray], np.ndarray]
Figure = dict[tuple[int, str], tuple[float, float]]  # (world, change) -> R@1, R@1 %


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


def embedded(path: Path, scans: Scans, describe: Callable[[Scans], np.ndarray]) -> tuple[np.ndarray, float]:
    """What `describe` makes of the scans, and milliseconds of CPU time per scan; kept in a file."""
    noted = path.with_suffix(".json")
    if not noted.exists():
        started = time.process_time()
        found = describe(scans)
        spent = (time.process_time() - started) / len(scans)
        save(path, found)
        noted.write_text(json.dumps({"ms": 1000 * spent}))
    return np.load(path), json.loads(noted.read_text())["ms"]


def figures(found: np.ndarray, scans: Scans, similarities: Similarities) -> Figure:
    """Recalls of every query drive in its world's map."""
    result: Figure = {}
    for area in dict.fromkeys(scans.areas.tolist()):
        of_map = np.flatnonzero((scans.areas == area) & (scans.conditions == MAP))
        for change in CHANGES:
            asked = np.flatnonzero((scans.areas == area) & (scans.conditions == change))
            gaps = np.linalg.norm(scans.positions_m[asked][:, None] - scans.positions_m[of_map], axis=2)
            ranks = first_ranks(-similarities(found[asked], found[of_map]), gaps <= RADIUS_M)
            ranks = ranks[ranks > 0]
            result[int(area), change] = (float((ranks == 1).mean()), float((ranks <= one_percent(len(of_map))).mean()))
    return result


def polar(range_m: float) -> Callable[[Scans], np.ndarray]:
    """Grids of scans; within buildings a quarter of the range."""

    def describe(scans: Scans) -> np.ndarray:
        configs = {
            area: PolarGridConfig(range_m=range_m * (INDOORS if kind_of(int(area)) == "corridor" else 1.0))
            for area in dict.fromkeys(scans.areas.tolist())
        }
        return np.concatenate(
            [polar_grids([scans.clouds[i]], configs[area]) for i, area in enumerate(scans.areas.tolist())]
        )

    return describe


def cell(found: Figure, keep: Callable[[int, str], bool], which: int = 0) -> str:
    """Mean ± standard deviation over worlds, each the mean over the changes that are kept."""
    worlds = sorted({seed for seed, _ in found})
    values = [[v[which] for (s, change), v in found.items() if s == seed and keep(s, change)] for seed in worlds]
    means = [np.mean(v) for v in values if v]
    return f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f}"


def table(named: dict[str, Figure]) -> str:
    """R@1 by change and by kind; the first method's by both."""
    first = next(iter(named.values()))
    head = [*named, *(f"the first: {kind}" for kind in KINDS)]
    lines = ["| R@1 within 10 m | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    rows: list[tuple[str, Callable[[int, str], bool]]] = [
        *((change, lambda s, c, change=change: c == change) for change in CHANGES),
        *((f"all, {kind}", lambda s, c, kind=kind: kind_of(s) == kind) for kind in KINDS),
        ("all", lambda s, c: True),
    ]
    for name, keep in rows:
        cells = [cell(found, keep) for found in named.values()]
        if name in CHANGES:
            cells += [cell(first, lambda s, c, n=name, kind=kind: kind_of(s) == kind and c == n) for kind in KINDS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("| all, AR@1 % | " + " | ".join(cell(found, lambda s, c: True, 1) for found in named.values()) + " |")
    return "\n".join(lines)


def like_first_grid(clouds: list[np.ndarray]) -> np.ndarray:
    """Similarities (N,) of the clouds' grids to the first one's."""
    grids = polar_grids(clouds)
    return compare(grids[:1], grids)[0][0]


def like_first(network) -> Callable[[list[np.ndarray]], np.ndarray]:
    """The same by a network: cosines of its embeddings."""
    from vpr_ros.training.data.sample import Sample
    from vpr_ros.training.teachers import collate

    def similarities(clouds: list[np.ndarray]) -> np.ndarray:
        samples = [Sample(None, cloud[cloud[:, 2] > FLOOR_M], None, 0) for cloud in clouds]
        found = network.embed(collate(samples, network.inputs, np.random.default_rng(0))).detach().numpy()
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit @ unit[0]

    return similarities


def real_scans(data: Path) -> dict[str, np.ndarray]:
    """Two neighbouring scans of KITTI, two of other places, and changed copies of the second, in base_link."""

    def read(path: Path) -> np.ndarray:
        return np.fromfile(path, np.float32).reshape(-1, 4)[:, :3] + np.array([0, 0, KITTI_HEIGHT_M], np.float32)

    paths = {
        "one": "kitti_scans/000094.bin",
        "its neighbour": "kitti_scans/000095.bin",
        "elsewhere": "kitti_frames/velodyne/000000.bin",
        "elsewhere again": "kitti_frames/velodyne/000001.bin",
    }
    found = {name: read(data / path) for name, path in paths.items()}
    near = found["its neighbour"]
    r = np.hypot(near[:, 0], near[:, 1])
    beam = np.round((np.degrees(np.arctan2(near[:, 2] - KITTI_HEIGHT_M, r)) + 24.8) / 26.8 * 63).astype(int)
    return found | {
        "neighbour, turned round": near * np.array([-1, -1, 1], np.float32),
        "neighbour, every fourth beam": near[beam % 4 == 0],
        "neighbour, up to 25 m": near[r < 25],
    }


def real_table(data: Path, methods: dict[str, Callable[[list[np.ndarray]], np.ndarray]]) -> str:
    """How alike the first scan is to the others; `methods` give similarities (N,) of clouds to their first."""
    scans = real_scans(data)
    lines = ["| similarity to one scan of KITTI | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    values = [method(list(scans.values())) for method in methods.values()]
    for number, name in enumerate(scans):
        if number:
            lines.append(f"| {name} | " + " | ".join(f"{v[number]:.2f}" for v in values) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/lidar_teachers"))
    parser.add_argument("--data", type=Path, help="folder with real scans, kitti_scans and kitti_frames in it")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    out = options.out
    started = time.process_time()
    for seed in TRAIN:
        render_world(out / "train" / f"{seed}.npz", seed, training_drives(seed, DRIVES, FRAMES), MOST_POINTS)
    for seed in TEST:
        render_world(out / "test" / f"{seed}.npz", seed, test_drives(seed, 150, 75))
    print(f"rendered in {time.process_time() - started:.0f} s of CPU time", flush=True)

    import torch

    from vpr_ros.training.evaluation.embedding import embed
    from vpr_ros.training.teachers import load_teacher

    torch.set_num_threads(1)
    tests = [out / "test" / f"{seed}.npz" for seed in TEST]
    named, spent = {}, {}
    scans = Scans(tests, "test")
    for name, range_m in (("polar grid", PolarGridConfig.range_m), ("polar grid of 20 m", 20.0)):
        grids, spent[name] = embedded(out / f"{name.replace(' ', '_')}.npy", scans, polar(range_m))
        named[name] = figures(grids, scans, lambda a, b: compare(a, b)[0])
    scans = Scans(tests, "test", enlarge=True, floor_m=FLOOR_M)
    torch.manual_seed(1)
    untrained = load_teacher("minkloc++-cloud", sparse="torch", **NETWORK)
    trained = load_teacher("minkloc++-cloud", train(out, options.epochs), sparse="torch")
    for name, network in (("network", trained), ("untrained", untrained)):
        found, spent[name] = embedded(out / f"{name}.npy", scans, lambda s, network=network: embed(network, s, 64))
        named[name] = figures(found, scans, network.similarities)
    print(table(named))
    if options.data is not None:
        print(real_table(options.data, {"polar grid": like_first_grid, "network": like_first(trained)}))
    print("ms of CPU time a scan: " + ", ".join(f"{name} {ms:.1f}" for name, ms in spent.items()))


if __name__ == "__main__":
    main()
