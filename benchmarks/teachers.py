"""MinkLoc++ and AdaFusion on unseen synthetic cities: image alone, cloud alone and fused, beside untrained copies.

Bench scale: the classes of the published teachers with fewer planes, smaller images and coarser voxels, all trained
from random weights on the same samples in the same order with the same loss. Runs are cached per row and seed: the same
command continues where it stopped, and prints the table.

    python benchmarks/teachers.py --out runs/teachers

World: 20 train cities (seeds 300 to 319) of three drives, 5 test cities (2100 to 2104) of five: summer day, summer
night, falling snow, autumn rain at dusk, and a winter day driven backwards. One ordinary camera; another disturbed
LiDAR (`hard_lidar`) in every drive. Settings were chosen on validation cities (1050 to 1052), never on test cities.
"""

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from synthetic_tables import cells, recalls, render, save

from vpr_ros.evaluation.paired import paired_difference
from vpr_ros.evaluation.protocols.run_pairs import PairRecalls
from vpr_ros.training.common.yaml_config import with_settings
from vpr_ros.training.data.augment.clouds import CloudAugmentConfig
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.teacher.config import TeacherConfig, check

TEST_CONDITIONS = (
    ("summer", "day", "clear"),
    ("summer", "night", "clear"),
    ("winter", "overcast", "snow"),
    ("autumn", "dusk", "rain"),
    ("winter", "day", "clear"),
)
BACKWARDS = 4  # number of the test drive along the same line in the other direction
WORLD = {"camera": "fixed", "lidar": "hard", "above_ground_m": 0.5}
DRIVEN = {"conditions": TEST_CONDITIONS, "reversed_drives": (BACKWARDS,)}
# name: seeds, drives per city, frames per drive, further settings
SETS = {
    "train": (range(300, 320), 3, 50, {}),
    "validation": (range(1050, 1053), 5, 60, DRIVEN),
    "test": (range(2100, 2105), 5, 90, DRIVEN),
}

CLOUD = {"voxel_size": 1.5, "cloud_planes": [16, 32, 32]}
IMAGE = {"image_size": [48, 64], "image_planes": [16, 32, 64]}
GRID = {"lower": [-32.0, -32.0, -1.0], "upper": [32.0, 32.0, 8.0], "shape": [20, 20, 8], "turned": False}
# Its published rate: at twice that, one of three fused runs stopped learning in its first epoch.
ADAFUSION_START = {
    "model.init": "he",
    "optimisation.learning_rate": 1e-3,
    "optimisation.image_learning_rate": 1e-3,
}
ADAFUSION = {"image_size": [32, 48], "image_planes": [16, 32], "cloud_planes": [8, 16, 32], "grid": GRID}
ROWS: dict[str, dict] = {
    "MinkLoc++ image": {"model.teacher": "minkloc++-image", "model.options": {"dim": 128, **IMAGE}},
    "MinkLoc++ cloud": {"model.teacher": "minkloc++-cloud", "model.options": {"dim": 128, **CLOUD}},
    "MinkLoc++ fused": {
        "model.teacher": "minkloc++",
        "model.options": {"cloud_dim": 64, "image_dim": 64, **CLOUD, **IMAGE},
    },
    "MinkLoc++ fused, image head": {
        "model.teacher": "minkloc++",
        "model.options": {"cloud_dim": 64, "image_dim": 64, **CLOUD, **IMAGE},
        "task.head_weights": {
            "final": 0.5,
            "cloud": 0.5,
            "image": 0.5,
        },  # published: 0, for an image branch from ImageNet
    },
    "AdaFusion image": {
        "model.teacher": "adafusion",
        "model.options": ADAFUSION,
        **ADAFUSION_START,
        "model.branch": "image",
    },
    "AdaFusion cloud": {
        "model.teacher": "adafusion",
        "model.options": ADAFUSION,
        **ADAFUSION_START,
        "model.branch": "cloud",
    },
    "AdaFusion fused": {"model.teacher": "adafusion", "model.options": ADAFUSION, **ADAFUSION_START},
}
COMPARED = (
    ("MinkLoc++ cloud", "MinkLoc++ image"),
    ("MinkLoc++ fused", "MinkLoc++ cloud"),
    ("MinkLoc++ fused", "MinkLoc++ image"),
    ("MinkLoc++ fused, image head", "MinkLoc++ cloud"),
    ("MinkLoc++ fused, image head", "MinkLoc++ fused"),
    ("AdaFusion cloud", "AdaFusion image"),
    ("AdaFusion fused", "AdaFusion cloud"),
    ("AdaFusion fused", "AdaFusion image"),
)
EPOCHS = 4
SETTINGS = {
    "task.loss": "contrastive",  # on raw distances: hard triplets collapse from random weights here, see BENCHMARK.md
    "optimisation.epochs": EPOCHS,
    "optimisation.milestones": (3,),
    "optimisation.decay": 0.2,
    "optimisation.learning_rate": 2e-3,
    "optimisation.image_learning_rate": 2e-3,
    "data.batch_size": 64,
    "data.areas_per_batch": 2,
    "augmentation.clouds": CloudAugmentConfig(jitter=0.05, jitter_clip=0.1, translation=0.3),  # metres
    "data.cache": True,
    "augmentation.shrink_first": True,
    "hardware.threads": 1,
    "hardware.accelerator": "cpu",
    "model.sparse": "torch",
}


def config_of(row: str, seed: int, epochs: int) -> TeacherConfig:
    """The run of one row and seed."""
    changes = {"optimisation.epochs": epochs, "optimisation.milestones": (max(1, epochs - 1),)}
    changes = {} if epochs == EPOCHS else changes
    return check(with_settings(TeacherConfig(), {**SETTINGS, **ROWS[row], "optimisation.seed": seed, **changes}))


def folder_of(out: Path, row: str, seed: int) -> Path:
    return out / f"{row.lower().replace(',', '').replace(' ', '-')}-{seed}"


def run(job: tuple[Path, str, int, int, bool]) -> str:
    """Train and embed the test cities; an untrained copy is only embedded. Returns what was done and its CPU time."""
    out, row, seed, epochs, trained = job
    import torch

    from vpr_ros.training.evaluation.embedding import embed
    from vpr_ros.training.teacher.branches import AdaFusionBranch
    from vpr_ros.training.teacher.build import build_teacher
    from vpr_ros.training.teacher.train import train_teacher
    from vpr_ros.training.teachers import load_teacher

    torch.set_num_threads(1)
    config, folder, started = config_of(row, seed, epochs), folder_of(out, row, seed), time.process_time()
    target = folder / ("test.npy" if trained else "untrained.npy")
    if target.exists():  # another process has made it meanwhile
        return f"{row}, seed {seed}: done before"
    model = build_teacher(config)
    if trained:
        path = train_teacher(config, folder, samples=TrainingSetSamples(out / "world" / "train"))
        model = load_teacher(config.model.teacher, path, sparse=config.model.sparse)
        model = AdaFusionBranch(model, config.model.branch) if config.model.branch else model
    embeddings = embed(model.eval(), TrainingSetSamples(out / "world" / "test"))
    save(target, embeddings)
    seconds = time.process_time() - started
    (folder / f"{target.stem}.json").write_text(json.dumps({"cpu_seconds": round(seconds, 1)}))
    return f"{row}, seed {seed}{'' if trained else ', untrained'}: {seconds:.0f} s of CPU time"


def is_backwards(pair) -> bool:
    return str(BACKWARDS) in (pair.database_run, pair.query_run)


def figures(found: dict[str, PairRecalls]) -> dict[str, dict[str, float]]:
    """Figure -> city -> value."""
    ahead = {city: f.select(lambda p: not is_backwards(p)) for city, f in found.items()}
    back = {city: f.select(is_backwards) for city, f in found.items()}
    return {
        "AR@1": {city: f.ar1 for city, f in ahead.items()},
        "AR@1 %": {city: f.ar1_percent for city, f in ahead.items()},
        **{
            f"AR@1 {other}": {
                city: f.select(lambda p, n=str(number): {p.database_run, p.query_run} == {"0", n}).ar1
                for city, f in ahead.items()
            }
            for number, other in ((1, "night"), (2, "snow"), (3, "rain"))
        },
        "AR@1 backwards": {city: f.ar1 for city, f in back.items()},
    }


def table_of(out: Path, rows: list[str], seeds: list[int]) -> str:
    """The table and the paired differences, from the cached embeddings."""
    frames = TrainingSetSamples(out / "world" / "test")
    by_row: dict[str, list[dict]] = {}
    for row in rows:
        measure = config_of(row, 1, EPOCHS).task.measure
        named = [
            (row, [folder_of(out, row, s) / "test.npy" for s in seeds]),
            (f"{row}, untrained", [folder_of(out, row, seeds[0]) / "untrained.npy"]),
        ]
        for name, paths in named:
            by_row[name] = [figures(recalls(np.load(p), frames, measure)) for p in paths if p.exists()]
    names = list(next(found[0] for found in by_row.values() if found))
    lines = ["| row | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row, found in by_row.items():
        lines.append(f"| {row} | " + " | ".join(cells(found, names)) + " |")
    lines += ["", "| difference | AR@1 | AR@1 backwards |", "|---|---|---|"]
    for one, other in COMPARED:
        first, second = by_row.get(one, []), by_row.get(other, [])
        if first and second:
            pairs = [
                str(paired_difference([f[name] for f in first], [f[name] for f in second]))
                for name in ("AR@1", "AR@1 backwards")
            ]
            lines.append(f"| {one} − {other} | " + " | ".join(pairs) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/teachers"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--table-only", action="store_true", help="of what there is")
    options = parser.parse_args()
    if not options.table_only:
        os.environ["OMP_NUM_THREADS"] = "1"
        render(options.out / "world", SETS, options.workers, **WORLD)
        wanted = [
            (options.out, row, seed, options.epochs, trained)
            for seed in options.seeds
            for row in options.rows
            for trained in (True, False)
            if trained or seed == options.seeds[0]
        ]
        missing = [
            job for job in wanted if not (folder_of(*job[:3]) / ("test.npy" if job[4] else "untrained.npy")).exists()
        ]
        with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
            for done in pool.map(run, missing):
                print(done, flush=True)
    print(table_of(options.out, options.rows, options.seeds))


if __name__ == "__main__":
    main()
