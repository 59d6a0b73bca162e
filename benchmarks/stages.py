"""D2-VPR's stages on unseen synthetic cities: with and without distillation, recovery module and deformable regions.

Bench scale of the paper's Table 6: nano students of 5x5 tokens from random weights, and a teacher of CricaVPR's class,
a wider transformer with fixed regions, larger images and more steps, which is trained first and with the same seed.
Stage 1 fits the student's descriptor to the teacher's on the same augmented images; stage 2 fine-tunes the last third
of the blocks and all that follows on places. Where there is no stage 1 nothing is pretrained, so stage 2 then trains
every block. Runs are cached per row and seed: the same command continues where it stopped, and prints the table.

    python benchmarks/stages.py --out runs/stages

World and protocol are those of benchmarks/teachers.py (`--world` takes its folder), images alone. Settings were chosen
on validation cities, never on test cities.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from synthetic_tables import cells, recalls, render, save
from teachers import SETS, WORLD, figures

from vpr_ros.evaluation.paired import FEWEST_AREAS, paired_difference
from vpr_ros.training.common.yaml_config import with_settings
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.student.config import DistillationConfig, TrainConfig, check

CHECKPOINT = "student.safetensors"
DIM = 128  # of a region's vector, in student and teacher alike
STUDENT = {"image_size": [70, 70], "width": 96, "heads": 3, "dim": DIM}
ABLATED = {
    "plain": {"taps": [6]},  # without the recovery module: a linear layer and a norm on the last block
    "fixed": {"aggregator": "fixed"},  # without offsets, fusion and position embedding
}
TEACHER = {
    "image_size": [84, 84],
    "width": 160,
    "heads": 5,
    "adapter_width": 80,
    "dim": DIM,
    "taps": [6],
    "aggregator": "fixed",
}

COMMON = {
    "model.student": "nano",
    "optimisation.epochs": 1,
    "data.places_per_batch": 24,
    "data.images_per_place": 3,
    "augmentation.ramp": (0.3, 0.3),
    "data.cache": True,
    "hardware.threads": 1,
    "hardware.accelerator": "cpu",
}
STEPS = {"teacher": 500, "stage 1": 150, "stage 2": 100}
# From random weights the published loss reaches half of this one's validation recall in so few steps; rows show both.
BY_PLACE = {"task.loss": "contrastive", "optimisation.learning_rate": 1e-3}
PUBLISHED = {"task.loss": "multi_similarity"}
FREEZING = {"model.trained": "d2vpr-stage2", "model.batch_norm": "frozen"}
FEATURES = DistillationConfig(
    teacher="cricavpr",
    loss="feature-mse",
    scale=14.0 * DIM,  # a mean over channels leaves gradients near the optimiser's epsilon
    head="none",
    teacher_view="online",
)
BY_FEATURES = {"task.loss": "none", "distillation": FEATURES, "optimisation.learning_rate": 3e-3}


@dataclass(frozen=True)
class Row:
    """`first` and `second`: steps of the two stages (0: left out); `student`: names of `ABLATED`."""

    first: int = STEPS["stage 1"]
    second: int = STEPS["stage 2"]
    student: tuple[str, ...] = ()
    frozen: bool = True  # two thirds of the blocks in stage 2, if there was a stage 1
    published: bool = False  # stage 2 under multi-similarity with its miner


BOTH, TEACHER_ROW, UNTRAINED = "stages 1 and 2", "teacher", "untrained"
ROWS = {
    TEACHER_ROW: Row(0, 0),
    UNTRAINED: Row(0, 0),
    BOTH: Row(),
    "stage 1 alone": Row(second=0),
    "stage 2 alone": Row(first=0),
    "stage 2 alone, as many steps": Row(first=0, second=STEPS["stage 1"] + STEPS["stage 2"]),
    "stages 1 and 2, nothing frozen": Row(frozen=False),
    "stages 1 and 2, multi-similarity": Row(published=True),
    "stage 2 alone, multi-similarity": Row(first=0, published=True),
    "without recovery": Row(student=("plain",)),
    "without deformable regions": Row(student=("fixed",)),
    "without either": Row(student=("plain", "fixed")),
}
COMPARED = (
    (TEACHER_ROW, BOTH),
    (BOTH, "stage 1 alone"),
    (BOTH, "stage 2 alone"),
    (BOTH, "stage 2 alone, as many steps"),
    (BOTH, "stages 1 and 2, nothing frozen"),
    (BOTH, "stages 1 and 2, multi-similarity"),
    ("stages 1 and 2, multi-similarity", "stage 2 alone, multi-similarity"),
    (BOTH, "without recovery"),
    (BOTH, "without deformable regions"),
    (BOTH, "without either"),
    ("without deformable regions", "without either"),
)


def config_of(options: dict, seed: int, steps: int, changes: dict) -> TrainConfig:
    """One run: a student's options, so many steps, and what else differs."""
    run = {"model.options": options, "optimisation.seed": seed, "optimisation.steps_per_epoch": steps}
    return check(with_settings(TrainConfig(), {**COMMON, **run, **changes}), folders=False)


def options_of(row: Row) -> dict:
    """The student of a row."""
    return {key: value for part in (STUDENT, *(ABLATED[name] for name in row.student)) for key, value in part.items()}


def folder_of(out: Path, row: str, seed: int) -> Path:
    return out / f"{row.replace(',', '').replace(' ', '-')}-{seed}"


def first_folder(out: Path, row: Row, seed: int) -> Path:
    """Of a stage 1, which all rows of the same student share."""
    return out / "-".join(["first", *row.student, str(row.first), str(seed)])


def train_teacher(out: Path, world: Path, _name: str, seed: int) -> Path:
    """The teacher, trained on places from random weights; returns its checkpoint."""
    from vpr_ros.training.student.train import train

    config = config_of(TEACHER, seed, STEPS["teacher"], BY_PLACE)
    return train(config, folder_of(out, TEACHER_ROW, seed), samples=images(world, "train"), weights_only=True)


def train_first(out: Path, world: Path, name: str, seed: int) -> Path:
    """Stage 1 of a row; returns its checkpoint."""
    from vpr_ros.training.student.train import train

    row = ROWS[name]
    config = config_of(options_of(row), seed, row.first, BY_FEATURES)
    folder = first_folder(out, row, seed)
    return train(config, folder, samples=images(world, "train"), teacher=as_teacher(out, seed), weights_only=True)


def train_second(out: Path, world: Path, name: str, seed: int) -> Path:
    """Stage 2 of a row, from its stage 1 where it has one; returns its checkpoint."""
    from vpr_ros.training.student.train import train

    row = ROWS[name]
    changes = {
        **BY_PLACE,
        **(PUBLISHED if row.published else {}),
        **(FREEZING if row.first and row.frozen else {}),
    }
    if row.first:
        changes["model.start"] = str(first_folder(out, row, seed) / CHECKPOINT)
    config = config_of(options_of(row), seed, row.second, changes)
    return train(config, folder_of(out, name, seed), samples=images(world, "train"), weights_only=True)


def checkpoint_of(out: Path, name: str, seed: int) -> Path:
    """The weights that a row ends with."""
    row = ROWS[name]
    folder = first_folder(out, row, seed) if row.first and not row.second else folder_of(out, name, seed)
    return folder / CHECKPOINT


def as_teacher(out: Path, seed: int):
    """The trained teacher as a `Teacher`."""
    from vpr_ros.student import load_checkpoint
    from vpr_ros.training.teachers import Teacher, TeacherInputs

    class Wide(Teacher):
        def __init__(self, network):
            super().__init__(TeacherInputs(image_size=network.config.image_size), network.config.descriptor_dim)
            self.network = network

        def heads(self, images=None, clouds=None, voxels=None):
            return {"final": self.network(images)}

    return Wide(load_checkpoint(folder_of(out, TEACHER_ROW, seed) / "student.safetensors"))


def images(world: Path, split: str) -> SampleSet:
    return TrainingSetSamples(world / split, name=split).select(modalities=("image",))


def embed_row(out: Path, world: Path, name: str, seed: int, split: str) -> None:
    """Embeddings of a split's frames, to `<split>.npy` of the row's folder."""
    from vpr_ros.student import load_checkpoint
    from vpr_ros.training.evaluation.embedding import embed
    from vpr_ros.training.student.networks import build_student

    untrained = name == UNTRAINED
    model = (
        build_student(config_of(STUDENT, seed, 1, {})) if untrained else load_checkpoint(checkpoint_of(out, name, seed))
    )
    embeddings = embed(model.eval(), images(world, split))
    save(folder_of(out, name, seed) / f"{split}.npy", embeddings)


def run(job: tuple[str, Path, Path, str, int, str]) -> str:
    """One piece of work in a process of its own; returns what was done and its CPU time."""
    work, out, world, name, seed, split = job
    import torch

    torch.set_num_threads(1)
    started = time.process_time()
    if work == "embed":
        embed_row(out, world, name, seed, split)
    else:
        {"teacher": train_teacher, "stage 1": train_first, "stage 2": train_second}[work](out, world, name, seed)
    return f"{name}, seed {seed}, {work}: {time.process_time() - started:.0f} s of CPU time"


def phases(out: Path, world: Path, rows: list[str], seeds: list[int], split: str) -> list[list[tuple]]:
    """What is missing, in the order that it is needed: teachers, first stages, second stages, embeddings."""
    every = [(name, seed) for seed in seeds for name in rows]
    taught = any(ROWS[name].first for name in rows) or TEACHER_ROW in rows
    first = {first_folder(out, ROWS[name], seed): (name, seed) for name, seed in every if ROWS[name].first}
    work = {
        "teacher": {folder_of(out, TEACHER_ROW, seed) / CHECKPOINT: (TEACHER_ROW, seed) for seed in seeds if taught},
        "stage 1": {folder / CHECKPOINT: job for folder, job in first.items()},
        "stage 2": {checkpoint_of(out, *job): job for job in every if ROWS[job[0]].second},
        "embed": {folder_of(out, *job) / f"{split}.npy": job for job in every},
    }
    return [
        [(name, out, world, *job, split) for target, job in jobs.items() if not target.exists()]
        for name, jobs in work.items()
    ]


def table_of(out: Path, world: Path, rows: list[str], seeds: list[int], split: str) -> str:
    """The table and the paired differences, from the cached embeddings."""
    frames = TrainingSetSamples(world / split)
    by_row: dict[str, list[dict]] = {}
    for row in rows:
        paths = [folder_of(out, row, seed) / f"{split}.npy" for seed in seeds]
        by_row[row] = [figures(recalls(np.load(p), frames, "cosine")) for p in paths if p.exists()]
    names = list(next((found[0] for found in by_row.values() if found), {}))
    lines = [f"| row | seeds | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for row, found in by_row.items():
        lines.append(f"| {row} | {len(found)} | {' | '.join(cells(found, names))} |")
    if len(set(frames.areas)) < FEWEST_AREAS:
        return "\n".join(lines)
    lines += ["", "| difference | AR@1 | AR@1 backwards |", "|---|---|---|"]
    for one, other in COMPARED:
        first, second = by_row.get(one, []), by_row.get(other, [])
        if first and second:
            pairs = [
                str(paired_difference([f[name] for f in first], [f[name] for f in second]))
                for name in ("AR@1", "AR@1 backwards")
            ]
            lines.append(f"| {one} − {other} | {' | '.join(pairs)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/stages"))
    parser.add_argument("--world", type=Path, help="folder with train, validation and test; default: <out>/world")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--table-only", action="store_true", help="of what there is")
    options = parser.parse_args()
    world = options.world or options.out / "world"
    if not options.table_only:
        os.environ["OMP_NUM_THREADS"] = "1"
        if not (world / options.split / "frames.csv").exists() or not (world / "train" / "frames.csv").exists():
            render(world, SETS, options.workers, **WORLD)
        with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
            for jobs in phases(options.out, world, options.rows, options.seeds, options.split):
                for done in pool.map(run, jobs):
                    print(done, flush=True)
    print(table_of(options.out, world, options.rows, options.seeds, options.split))


if __name__ == "__main__":
    main()
