"""DistilVPR's tables on unseen synthetic cities: a camera-only student under every distillation loss, the same budget.

Every student of a seed starts from the same weights, sees the same images in the same order and takes the same number
of steps; only what it learns from the teacher differs. One teacher, image and LiDAR fused, teaches them all; the same
command trains it first. The weight of a loss is searched for every row alike, on validation cities. Runs are
cached per row and seed: the same command goes on where it stopped, and prints the tables.

    python benchmarks/distillation.py --out runs/distillation

World: 40 train cities (seeds 300 to 339) of three drives, 5 test cities (2100 to 2104) of four: a summer day is the
map; overcast winter with snow, autumn dusk with rain and a summer night ask. One ordinary camera, a LiDAR of 16 to 32
beams. Validation cities are 1050 to 1052; nothing is chosen on test cities.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from synthetic_tables import cells, recalls, render, save
from teachers import CLOUD, IMAGE, SETTINGS

from vpr_ros.evaluation.paired import FEWEST_AREAS, paired_difference
from vpr_ros.evaluation.run_pairs import PairRecalls
from vpr_ros.training.data.sample import FrameTableSamples
from vpr_ros.training.data.training_set import FrameTable, read_frame_table
from vpr_ros.training.losses import DISTILLATION_WEIGHTS

WORLD = {"camera": "fixed", "lidar": "clean", "above_ground_m": 0.5}
DRIVES = {
    "conditions": (
        ("summer", "day", "clear"),
        ("winter", "overcast", "snow"),
        ("autumn", "dusk", "rain"),
        ("summer", "night", "clear"),
    )
}
MAP, QUERIES = "0", {"winter": "1", "dusk": "2", "night": "3"}  # numbers of the drives
# name: seeds, drives per city, frames per drive, further settings
SETS = {
    "train": (range(300, 340), 3, 50, {}),
    "validation": (range(1050, 1053), 4, 60, DRIVES),
    "test": (range(2100, 2105), 4, 90, DRIVES),
}
TEACHERS = {
    "teacher, cloud alone": {"teacher": "minkloc++-cloud", "options": {"dim": 128, **CLOUD}},
    "teacher, fused": {
        "teacher": "minkloc++",
        "options": {"cloud_dim": 128, "image_dim": 128, **CLOUD, **IMAGE},
        "head_weights": {"final": 0.5, "cloud": 0.5, "image": 0.5},
    },
}
TEACHER_SETTINGS = {**SETTINGS, "epochs": 8, "milestones": (6,)}

# One student for every row: nano on 56 x 56 pixels, from random weights.
STUDENT = {
    "student": "nano",
    "options": {"image_size": [56, 56]},
    "loss": "contrastive",
    "learning_rate": 2e-3,  # the best for the student alone on validation cities, of 1, 2 and 4 thousandths
    "epochs": 1,
    "steps_per_epoch": 360,
    "places_per_batch": 16,
    "images_per_place": 3,
    "ramp": (0.3, 0.3),
    "cache": True,
    "threads": 1,
    "accelerator": "cpu",
}
TAUGHT = {"head": "linear", "head_for": "widths", "teacher_space": "centred", "sparse": "torch"}
# Of a loss's own weights: searched for every row of `methods` on validation cities, with seed 0 and a third of the
# steps; rows of the other tables take their parent's.
FACTORS = (0.1, 1.0, 8.0)
SEARCH_STEPS = 120
OURS = {"loss": "relations", "teacher_space": "whitened"}

METHODS: dict[str, dict | None] = {
    "student alone": None,
    "KD": {"loss": "kd"},
    "AFD": {"loss": "afd"},
    "EPC-Net": {"loss": "epc-net"},
    "RKD": {"loss": "rkd"},
    "CSD": {"loss": "csd"},
    "LSD-Net": {"loss": "lsd-net"},
    "MKD": {"loss": "mkd"},
    "S, released": {"loss": "distilvpr-s-released"},
    "C, released": {"loss": "distilvpr-c-released"},
    "SC, released": {"loss": "distilvpr-s-released+distilvpr-c-released"},
    "S, paper": {"loss": "distilvpr-s"},
    "C, paper": {"loss": "distilvpr-c"},
    "SC, paper": {"loss": "distilvpr-s+distilvpr-c"},
    "ours": OURS,
}


def only(row: dict, *terms: str) -> dict:
    """A row's losses reduced to some of their terms."""
    names = [term for name in row["loss"].split("+") for term in DISTILLATION_WEIGHTS[name]]
    return {**row, "weights": {name: 0.0 for name in names if not name.endswith(terms)}}


SC = METHODS["SC, released"] or {}
AGENTS: dict[str, dict | None] = {
    "tt-ss (S, released)": METHODS["S, released"],
    "ts-ss (C, released)": METHODS["C, released"],
    "tt-ts": {"loss": "distilvpr-tt-ts-released"},
    "both (SC, released)": SC,
}
MANIFOLDS: dict[str, dict | None] = {
    "Euclidean": only(SC, "euclidean"),
    "angle and cosine": only(SC, "angle", "cosine"),
    "hyperbolic": only(SC, "hyperbolic"),
    "Euclidean, angle and cosine": only(SC, "euclidean", "angle", "cosine"),
}
WIDTHS: dict[str, dict | None] = {
    "S on the descriptor": METHODS["S, released"],
    "S through a linear head": {"loss": "distilvpr-s-released", "head_for": "all"},
    "S through a head of two layers": {"loss": "distilvpr-s-released", "head_for": "all", "head": "mlp"},
    "SC, cross terms through the head": SC,
    "SC through a linear head": {**SC, "head_for": "all"},
    "ours": OURS,
    "ours, teacher centred only": {"loss": "relations"},
    "ours, teacher as it is": {"loss": "relations", "teacher_space": "raw"},
    "SC, released, teacher as it is": {**SC, "teacher_space": "raw"},
}
TABLES = {
    "methods": [*TEACHERS, *METHODS],
    "agents": ["student alone", *AGENTS],
    "manifolds": ["student alone", *MANIFOLDS, "SC, released"],
    "widths": ["student alone", *WIDTHS],
}
SEARCH_SEED, TAUGHT_BY = 0, 1  # seeds of the search, and of the one teacher of all students
ROWS: dict[str, dict | None] = {**METHODS, **AGENTS, **MANIFOLDS, **WIDTHS}
PARENT = {row: "ours" if row.startswith("ours") else "SC, released" for row in (*AGENTS, *MANIFOLDS, *WIDTHS)}
UNSEARCHED = ("ts-ss (C, released)", "tt-ts")  # cross terms, whose weight is the published one in SC too


def teacher_config(name: str, seed: int):
    """The run of one teacher and seed."""
    from vpr_ros.training.engine.teacher_config import TeacherConfig, check

    return check(replace(TeacherConfig(), **{**TEACHER_SETTINGS, **TEACHERS[name], "seed": seed}))


def student_config(row: str, seed: int, factor: float):
    """The run of one row and seed, its distillation weighed by the factor."""
    from vpr_ros.training.engine.config import DistilConfig, TrainConfig
    from vpr_ros.training.engine.rules import check

    distil = ROWS[row]
    section = None if distil is None else DistilConfig(**{**TAUGHT, **weighed(distil, factor)})
    steps = {"steps_per_epoch": SEARCH_STEPS} if seed == SEARCH_SEED else {}
    return check(replace(TrainConfig(), **{**STUDENT, **steps, "seed": seed, "distil": section}), folders=False)


def weighed(distil: dict, factor: float) -> dict:
    """A row's losses times the factor. In DistilVPR-SC it acts on λ_S alone, which its authors choose by data set."""
    names = distil["loss"].split("+")
    if len(names) == 1:
        return {**distil, "scale": factor}
    own = {term: weight for name in names for term, weight in DISTILLATION_WEIGHTS[name].items()}
    own |= distil.get("weights", {})
    return {**distil, "weights": {term: weight * factor if "self" in term else weight for term, weight in own.items()}}


def same_run(row: str) -> str:
    """The first row that names the same run: a row of several tables is trained once."""
    return next(name for name, distil in ROWS.items() if distil == ROWS[row])


def folder_of(out: Path, row: str, seed: int) -> Path:
    name = "".join(c if c.isalnum() else "-" for c in row.lower())
    return out / f"{'-'.join(filter(None, name.split('-')))}-{seed}"


def run_teacher(job: tuple[Path, str, int]) -> str:
    """Train a teacher, embed the train cities for its students, and the test cities."""
    out, row, seed = job
    import torch

    from vpr_ros.training.engine.teacher_train import train_teacher
    from vpr_ros.training.evaluation.embedding import embed
    from vpr_ros.training.teachers import load_teacher

    torch.set_num_threads(1)
    folder, started, config = folder_of(out, row, seed), time.process_time(), teacher_config(row, seed)
    samples = {name: FrameTableSamples(read_frame_table(out / "world" / name)) for name in SETS}
    teacher = load_teacher(
        config.teacher, train_teacher(config, folder, samples=samples["train"]), sparse=config.sparse
    )
    for name in ("train", "validation", "test"):
        save(folder / f"{name}.npy", embed(teacher, samples[name]))
    return f"{row}, seed {seed}: {time.process_time() - started:.0f} s of CPU time"


def run_student(job: tuple[Path, str, int, float]) -> str:
    """Train a student and embed the validation and test cities with it; the search sees validation cities only."""
    out, row, seed, factor = job
    import torch

    from vpr_ros.student import load_checkpoint
    from vpr_ros.training.engine.train import train
    from vpr_ros.training.evaluation.embedding import embed

    torch.set_num_threads(1)
    folder, started = student_folder(*job), time.process_time()
    config = student_config(row, seed, factor)
    samples = {name: FrameTableSamples(read_frame_table(out / "world" / name)) for name in SETS}
    taught = np.load(folder_of(out, "teacher, fused", TAUGHT_BY) / "train.npy") if config.distil is not None else None
    student = load_checkpoint(train(config, folder, samples=samples["train"], teacher=taught, finish=False))
    for name in ("validation", "test") if seed else ("validation",):
        save(folder / f"{name}.npy", embed(student, samples[name]))
    return f"{row} x {factor:g}, seed {seed}: {time.process_time() - started:.0f} s of CPU time"


def student_folder(out: Path, row: str, seed: int, factor: float) -> Path:
    return folder_of(out, f"{same_run(row)} x {factor:g}", seed)


def tried(row: str) -> tuple[float, ...]:
    """Factors of the search; a student alone has nothing to weigh."""
    return FACTORS if ROWS[row] is not None else (1.0,)


def best(out: Path, row: str) -> float:
    """Of the factors tried, the one with the best AR@1 on validation cities."""
    if row in UNSEARCHED:
        return 1.0
    row = row if row in METHODS else PARENT[row]
    frames = read_frame_table(out / "world" / "validation")
    paths = {factor: student_folder(out, row, SEARCH_SEED, factor) / "validation.npy" for factor in tried(row)}
    found = {
        factor: float(np.mean([f.ar1 for f in from_map(np.load(path), frames, "cosine").values()]))
        for factor, path in paths.items()
        if path.exists()
    }
    return max(found, key=lambda factor: found[factor])


def from_map(embeddings: np.ndarray, table: FrameTable, measure: str) -> dict[str, PairRecalls]:
    """By city: its summer day as the map against its other drives."""
    found = recalls(embeddings, table, measure)
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
    frames = read_frame_table(out / "world" / split)
    by_row: dict[str, list[dict]] = {}
    for row in rows:
        measure = "euclidean" if row in TEACHERS else "cosine"  # teachers rank as they were trained
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
