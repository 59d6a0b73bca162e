"""DistilVPR's tables on unseen synthetic cities: a camera-only student under every distillation loss, the same budget.

Every student of a seed starts from the same weights, sees the same images in the same order and takes the same number
of steps; only the distillation loss differs. All have the same teacher, image and LiDAR fused, which the same command
trains first. The weight of a loss is searched for every row alike, on validation cities; in DistilVPR-SC it is λ_S, as
published. Runs are cached per row and seed: the same command continues where it stopped, and prints the tables.
`distillation_rows.py` has the rows.

    python benchmarks/distillation.py --out runs/distillation

World: 40 train cities (seeds 300 to 339) of three drives, 5 test cities (2100 to 2104) of four: a summer day is the
map; overcast winter with snow, autumn dusk with rain and a summer night are the queries. One ordinary camera, a LiDAR
of 16 to 32 beams. Validation cities are 1050 to 1052; nothing is chosen on test cities.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from distillation_rows import (
    METHODS,
    PARENT,
    ROWS,
    SEARCH_SEED,
    SETS,
    TABLES,
    TAUGHT_BY,
    TEACHERS,
    WORLD,
    same_run,
    student_config,
    teacher_config,
    tried,
)
from synthetic_tables import cells, recalls, render, save

from vpr_ros.evaluation.paired import FEWEST_AREAS, paired_difference
from vpr_ros.evaluation.protocols.run_pairs import PairRecalls
from vpr_ros.evaluation.ranking import Measure
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.sample import SampleSet

MAP, QUERIES = "0", {"winter": "1", "dusk": "2", "night": "3"}  # numbers of the drives


def folder_of(out: Path, row: str, seed: int) -> Path:
    name = "".join(c if c.isalnum() else "-" for c in row.lower())
    return out / f"{'-'.join(filter(None, name.split('-')))}-{seed}"


def run_teacher(job: tuple[Path, str, int]) -> str:
    """Train a teacher, embed the train cities for its students, and the test cities."""
    out, row, seed = job
    import torch

    from vpr_ros.training.evaluation.embedding import embed
    from vpr_ros.training.teacher.train import train_teacher
    from vpr_ros.training.teachers import load_teacher

    torch.set_num_threads(1)
    folder, started, config = folder_of(out, row, seed), time.process_time(), teacher_config(row, seed)
    samples = {name: TrainingSetSamples(out / "world" / name) for name in SETS}
    teacher = load_teacher(
        config.model.teacher, train_teacher(config, folder, samples=samples["train"]), sparse=config.model.sparse
    )
    for name in ("train", "validation", "test"):
        save(folder / f"{name}.npy", embed(teacher, samples[name]))
    return f"{row}, seed {seed}: {time.process_time() - started:.0f} s of CPU time"


def run_student(job: tuple[Path, str, int, float]) -> str:
    """Train a student and embed the validation and test cities with it; the search sees validation cities only."""
    out, row, seed, factor = job
    import torch

    from vpr_ros.student import load_checkpoint
    from vpr_ros.training.evaluation.embedding import embed
    from vpr_ros.training.student.train import train

    torch.set_num_threads(1)
    folder, started = student_folder(*job), time.process_time()
    config = student_config(row, seed, factor)
    samples = {name: TrainingSetSamples(out / "world" / name) for name in SETS}
    taught = (
        np.load(folder_of(out, "teacher, fused", TAUGHT_BY) / "train.npy") if config.distillation is not None else None
    )
    student = load_checkpoint(train(config, folder, samples=samples["train"], teacher=taught, weights_only=True))
    for name in ("validation", "test") if seed else ("validation",):
        save(folder / f"{name}.npy", embed(student, samples[name]))
    return f"{row} x {factor:g}, seed {seed}: {time.process_time() - started:.0f} s of CPU time"


def student_folder(out: Path, row: str, seed: int, factor: float) -> Path:
    return folder_of(out, f"{same_run(row)} x {factor:g}", seed)


@cache
def best(out: Path, row: str) -> float:
    """Of the factors tried, the one with the best AR@1 on validation cities."""
    if len(tried(row)) == 1:
        return tried(row)[0]
    row = row if row in METHODS else PARENT[row]
    frames = TrainingSetSamples(out / "world" / "validation")
    paths = {factor: student_folder(out, row, SEARCH_SEED, factor) / "validation.npy" for factor in tried(row)}
    found = {
        factor: float(np.mean([f.ar1 for f in from_map(np.load(path), frames, "cosine").values()]))
        for factor, path in paths.items()
        if path.exists()
    }
    return max(found, key=lambda factor: found[factor])


def from_map(embeddings: np.ndarray, samples: SampleSet, measure: Measure) -> dict[str, PairRecalls]:
    """By city: its summer day as the map against its other drives."""
    found = recalls(embeddings, samples, measure)
    return {city: pairs.select(lambda p: p.database_run == MAP) for city, pairs in found.items()}


def figures(found: dict[str, PairRecalls]) -> dict[str, dict[str, float]]:
    """Figure -> city -> value."""
    return {
        "AR@1": {city: f.ar1 for city, f in found.items()},
        "AR@1 %": {city: f.ar1_percent for city, f in found.items()},
        **{
            f"AR@1 {name}": {city: f.select(lambda p, n=number: p.query_run == n).ar1 for city, f in found.items()}
            for name, number in QUERIES.items()
        },
    }


def table_of(out: Path, rows: list[str], seeds: list[int], against: str, split: str = "test") -> str:
    """The table of rows, and each row's paired difference to the row `against`, from the cached embeddings."""
    frames = TrainingSetSamples(out / "world" / split)
    by_row: dict[str, list[dict]] = {}
    for row in rows:
        measure = (
            "euclidean" if row in TEACHERS else "cosine"
        )  # teachers are compared by the distance that they were trained with
        folders = [
            folder_of(out, row, seed) if row in TEACHERS else student_folder(out, row, seed, best(out, row))
            for seed in seeds
        ]
        paths = [folder / f"{split}.npy" for folder in folders]
        by_row[row] = [figures(from_map(np.load(p), frames, measure)) for p in paths if p.exists()]
    names = ["AR@1", "AR@1 %", *(f"AR@1 {name}" for name in QUERIES)]
    lines = [f"| row | factor | {' | '.join(names)} | AR@1 against {against} |", "|---" * (len(names) + 3) + "|"]
    for row, found in by_row.items():
        pair = "" if row == against else difference(found, by_row.get(against, []))
        chosen = "" if row in TEACHERS or ROWS[row] is None else f"{best(out, row):g}"
        lines.append(f"| {row} | {chosen} | " + " | ".join(cells(found, names)) + f" | {pair} |")
    return "\n".join(lines)


def difference(first: list[dict], second: list[dict]) -> str:
    """Paired over the test cities; nothing where they are too few or a row was not run."""
    if not first or not second or len(second[0]["AR@1"]) < FEWEST_AREAS:
        return ""
    found = paired_difference([f["AR@1"] for f in first], [f["AR@1"] for f in second])
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def work(pool: ProcessPoolExecutor, run: Callable[[tuple], str], jobs: list[tuple]) -> None:
    """What of the jobs is not there yet; rows that name the same run are one job."""
    place = {run_teacher: folder_of, run_student: student_folder}[run]
    wanted = {place(*job) / ("test.npy" if job[2] else "validation.npy"): job for job in jobs}
    for done in pool.map(run, [job for path, job in wanted.items() if not path.exists()]):
        print(done, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--table-only", action="store_true", help="of what there is")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    options = parser.parse_args()
    if not options.table_only:
        os.environ["OMP_NUM_THREADS"] = "1"
        render(options.out / "world", SETS, options.workers, **WORLD)
        rows = list(dict.fromkeys(row for table in options.tables for row in TABLES[table] if row not in TEACHERS))
        out, searched = options.out, [row for row in METHODS if row in rows or row in map(PARENT.get, rows)]
        with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
            work(pool, run_teacher, [(out, "teacher, fused", TAUGHT_BY)])
            work(pool, run_student, [(out, row, SEARCH_SEED, f) for row in searched for f in tried(row)])
            work(pool, run_student, [(out, row, seed, best(out, row)) for seed in options.seeds for row in rows])
            work(pool, run_teacher, [(out, row, seed) for seed in options.seeds for row in TEACHERS])
    for name in options.tables:
        print(f"\n{name}\n")
        print(table_of(options.out, TABLES[name], options.seeds, "student alone", options.split))


if __name__ == "__main__":
    main()
