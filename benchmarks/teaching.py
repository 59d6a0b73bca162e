"""Does a LiDAR that teaches pay? Three robots in their own streets, and what they then know of other ones.

All of them drove five areas (`teaching_drives.py`) by day, at night and in winter, with a camera and a LiDAR. The first
robot knows the pose of every frame, the second of a tenth of the way, the third of none. The student is `nano`: its
trunk stands still and its maps are kept, what follows is trained for `--steps` batches on one area's drives. "labelled"
is the contrastive loss on frames whose poses are known; "relations" and "SC" add `vpr_ros train distill`'s losses
against a training-free teacher, the polar grids of the clouds, on all frames and without a label; "pairs" are named by
the LiDAR across drives (`vpr_ros.offline.crossing`) and take the place of poses, which it does not see.

Recall@1 within 10 m against the day's map, compared as a recogniser compares (drives' means taken out), of two drives
that nothing learnt from: own streets, and the other areas' mean. Differences are paired over areas, seeds averaged;
"least" is the worst of all pairs of an own area and another one. Times are seconds of one core; in the first row with
pairs, that of an area's first seed has named them.

    python benchmarks/teaching.py --out runs/teaching --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import copy
import csv
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from teaching_drives import ASKED, MAP, OTHERS, OWN, TAUGHT, Frames, Pass, read_pass, render
from torch import Tensor

from vpr_ros.evaluation.paired import FEWEST_AREAS, paired_difference
from vpr_ros.geometry import yaw_of
from vpr_ros.offline.crossing import ScannedDrive, find_crossing
from vpr_ros.place_map.statistics import DriveStatistics, centred
from vpr_ros.student import read_checkpoint
from vpr_ros.training.adapt.learning import HEADS_RATE, PROJECTION_RATE, TEMPERATURE
from vpr_ros.training.adapt.maps import packed
from vpr_ros.training.adapt.reduced import Reduced
from vpr_ros.training.data.links import RowPairs
from vpr_ros.training.data.nearness import Nearness
from vpr_ros.training.data.sampling.nominated import NominatedBatchSampler
from vpr_ros.training.data.sampling.places import PlaceBatchSampler
from vpr_ros.training.losses import DISTILLATION, DISTILLATION_WEIGHTS, contrastive_loss
from vpr_ros.training.student.freezing import trained_parameters
from vpr_ros.training.teachers import load_teacher

RADIUS_M, HEADING_RAD = 10.0, 0.8
DRAWN_M, DRAWN_RAD = 4.0, 0.35  # frames of one place are drawn within these
POSITIVE_M, POSITIVE_RAD, NEGATIVE_M, NEGATIVE_RAD = 6.0, 0.5, 20.0, 1.0
SCALE = 8.0
PLACES, VIEWS = 20, 3
LOSSES = {"relations": "relations", "SC": "distilvpr-sc"}
ROBOTS = {"all": 1.0, "a tenth": 0.1, "none": 0.0}  # share of the way whose poses are known
ROWS = {
    "all": ("labelled", "labelled+relations", "labelled+SC"),
    "a tenth": ("labelled", "labelled+relations", "labelled+SC", "pairs", "pairs+relations"),
    "none": ("relations", "SC", "pairs", "pairs+relations"),
}


@dataclass(frozen=True)
class Taught:
    """What a robot has of its streets, of N frames of all drives."""

    maps: np.ndarray  # (N, K) of the trunk
    drives: np.ndarray  # (N,) int
    embeddings: np.ndarray  # (N, D) of the teacher
    poses: Nearness
    labelled: np.ndarray  # (N,) along the way, 0 to 1


class Kept:
    """Maps and clouds of all drives, computed once."""

    def __init__(self, folder: Path, student) -> None:
        self.folder, self.student = folder, student

    def drive(self, seed: int, name: str) -> Pass:
        return read_pass(self.folder / "drives", seed, name)

    def maps(self, seed: int, name: str) -> np.ndarray:
        path = self.folder / "maps" / f"{seed}_{name.replace(' ', '_')}.npy"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, packed(self.student, self.drive(seed, name).images))
        return np.load(path, allow_pickle=False)


def batches(taught: Taught, known: Nearness | None, loss: str | None, steps: int, seed: int) -> Iterator[list[list]]:
    """Per step the keys of the frames of known places, where any are known, and of those that the teacher nominates."""
    samplers: list = []
    if known is not None:
        samplers.append(
            PlaceBatchSampler(
                *(Frames(taught.drives, known), PLACES, VIEWS, steps, 1),
                seed=seed,
                cities_per_batch=1,
                positive_m=DRAWN_M,
                positive_rad=DRAWN_RAD,
                negative_m=NEGATIVE_M,
            )
        )
    if loss is not None:
        frames = Frames(taught.drives, taught.poses)  # its drives alone are looked at
        samplers.append(NominatedBatchSampler(frames, lambda: taught.embeddings, PLACES, VIEWS, steps, seed=seed))
    return map(list, zip(*samplers, strict=True))


def masks(known: Nearness, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Positive and negative pairs (B, B); what is not known is neither."""
    gaps = known.among(rows)
    assert gaps.turn_rad is not None
    positives = gaps.near(POSITIVE_M, POSITIVE_RAD)
    np.fill_diagonal(positives, False)
    negatives = (gaps.least_m >= NEGATIVE_M) | (gaps.turn_rad >= NEGATIVE_RAD)
    return torch.from_numpy(positives), torch.from_numpy(negatives)


def train(start: Reduced, taught: Taught, known: Nearness | None, loss: str | None, steps: int, seed: int) -> Reduced:
    """The student after `steps` batches: contrastive on what is `known`, and distillation by `loss` on everything."""
    model = copy.deepcopy(start)
    torch.manual_seed(seed)
    model.requires_grad_(False)
    model.matrices.requires_grad_(True)
    groups = [
        {"params": list(model.matrices.parameters()), "lr": PROJECTION_RATE},
        {"params": trained_parameters(model.student, "heads"), "lr": HEADS_RATE},
    ]
    teacher, head = torch.from_numpy(taught.embeddings), None
    if loss is not None and DISTILLATION[LOSSES[loss]].equal_widths:
        head = torch.nn.Linear(start.start.dim, teacher.shape[1])
        groups.append({"params": list(head.parameters()), "lr": PROJECTION_RATE})
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    model.train()
    for step in batches(taught, known, loss, steps, seed):
        parts = [np.array([key[0] for key in keys], np.int64) for keys in step]
        found = model(torch.from_numpy(taught.maps[np.concatenate(parts)]))
        total = found.sum() * 0.0
        if known is not None:
            own = found[: len(parts[0])]
            total = total + contrastive_loss(own, *masks(known, parts[0]), temperature=TEMPERATURE)
        if loss is not None:
            own, rows = found[-len(parts[-1]) :], torch.from_numpy(parts[-1])
            terms = DISTILLATION[LOSSES[loss]](own if head is None else head(own), teacher[rows])
            weights = DISTILLATION_WEIGHTS[LOSSES[loss]]
            total = total + SCALE * torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        schedule.step()
    return model


@dataclass(frozen=True)
class Question:
    """A drive that asks for places of a map, and which of its answers are right."""

    area: str
    map: np.ndarray  # maps (M, K) of the trunk
    asked: np.ndarray  # (Q, K)
    right: np.ndarray  # (Q, M) bool

    def recall(self, model: Reduced) -> float:
        """Recall@1 of the queries that have a right answer, both drives without their means."""
        similarity = _centred(model, self.asked) @ _centred(model, self.map).T
        known = self.right.any(axis=1)
        return float(self.right[np.arange(len(similarity)), similarity.argmax(axis=1)][known].mean())


def _centred(model: Reduced, rows: np.ndarray) -> np.ndarray:
    described = model.describe(rows)
    return centred(described, DriveStatistics.of(described).mean, model.start.lengths)


def questions(kept: Kept, area: str, seed: int) -> list[Question]:
    """All drives that ask in one area."""
    T_map = kept.drive(seed, MAP).T_map_base
    found = []
    for name in ASKED:
        T = kept.drive(seed, name).T_map_base
        gap = np.linalg.norm(T[:, None, :2, 3] - T_map[None, :, :2, 3], axis=2)
        turn = np.abs((yaw_of(T)[:, None] - yaw_of(T_map)[None] + np.pi) % (2 * np.pi) - np.pi)
        right = (gap < RADIUS_M) & (turn < HEADING_RAD)
        found.append(Question(area, kept.maps(seed, MAP), kept.maps(seed, name), right))
    return found


def taught(kept: Kept, seed: int) -> Taught:
    """What a robot has of one of its own areas."""
    drives = [kept.drive(seed, name) for name in TAUGHT]
    teacher = load_teacher("polar-grid")
    clouds = [torch.from_numpy(cloud) for drive in drives for cloud in drive.clouds]
    T = np.concatenate([drive.T_map_base for drive in drives])
    return Taught(
        np.concatenate([kept.maps(seed, name) for name in TAUGHT]),
        np.repeat(np.arange(len(drives)), [len(drive.clouds) for drive in drives]),
        teacher.embed({"clouds": clouds}).numpy(),
        Nearness.of_maps(T[:, :2, 3], np.asarray(yaw_of(T)), np.zeros(len(T), np.int64)),
        np.concatenate([np.linspace(0, 1, len(drive.clouds), endpoint=False) for drive in drives]),
    )


def lidar_pairs(kept: Kept, seed: int) -> Nearness:
    """Which frames are near one another by LiDAR: all crossings of the drives, with odometry and without a pose."""
    drives = [kept.drive(seed, name) for name in TAUGHT]
    scanned = [ScannedDrive(d.clouds, d.stamps_ns, d.T_odom_base, n) for d, n in zip(drives, TAUGHT, strict=True)]
    first = np.cumsum([0, *(len(drive.clouds) for drive in drives)])
    rows, T = [], []
    for a, b in itertools.combinations(range(len(drives)), 2):
        for one in find_crossing(scanned[a], scanned[b]).constraints:
            rows.append((first[a] + one.first, first[b] + one.second))
            T.append((*one.T_first_second[:2, 3], yaw_of(one.T_first_second)))
    pairs = RowPairs(
        np.array(rows, np.int64).reshape(-1, 2),
        np.array(T, np.float64).reshape(-1, 3),
        np.ones(len(rows), bool),
        np.array(list(itertools.combinations(range(len(drives)), 2))),
    )
    T_odom = np.concatenate([drive.T_odom_base for drive in drives])
    numbers = np.repeat(np.arange(len(drives)), [len(drive.clouds) for drive in drives])
    headings, areas = np.asarray(yaw_of(T_odom)), np.full(len(numbers), "here")
    return Nearness.of_drives(T_odom[:, :2, 3], headings, areas, np.array(TAUGHT)[numbers], numbers, pairs)


def rows_of(options: argparse.Namespace, kept: Kept, start: Reduced) -> list[dict]:
    """One dictionary per robot, row, area and seed; those that an earlier run measured are read from its table."""
    table = options.out / "teaching.csv"
    done = list(csv.DictReader(table.open())) if table.is_file() else []
    known = {(row["robot"], row["row"], row["area"], row["seed"]) for row in done}
    others = [question for area, seed in OTHERS.items() for question in questions(kept, area, seed)]
    columns = ["robot", "row", "area", "seed", "own", *OTHERS, "seconds"]
    with table.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        if not done:
            writer.writeheader()
        for area, city in ((name, OWN[name]) for name in options.areas):
            own, data, by_lidar = questions(kept, area, city), None, None
            jobs = [("", "start", 0)]
            jobs += [(robot, row, seed) for robot, rows in ROWS.items() for row in rows for seed in options.seeds]
            for robot, row, seed in jobs:
                if (robot, row, area, str(seed)) in known or (options.rows and row not in options.rows):
                    continue
                model, began = start, time.process_time()
                if row != "start":
                    data = data or taught(kept, city)
                    tasks, loss = row.split("+"), next((loss for loss in LOSSES if loss in row), None)
                    place, used = None, data
                    if "pairs" in tasks:
                        by_lidar = by_lidar or lidar_pairs(kept, city)
                        place = by_lidar
                    elif "labelled" in tasks:
                        place = _with_labels(data, ROBOTS[robot])
                    model = train(start, used, place, loss, options.steps, seed)
                seconds = time.process_time() - began
                found = {"own": float(np.mean([question.recall(model) for question in own]))}
                found |= {name: float(np.mean([q.recall(model) for q in others if q.area == name])) for name in OTHERS}
                line = {"robot": robot, "row": row, "area": area, "seed": seed, **found, "seconds": round(seconds, 1)}
                writer.writerow(line)
                stream.flush()
                print(line, flush=True)
                done.append({key: str(value) for key, value in line.items()})
    return done


def _with_labels(data: Taught, share: float) -> Nearness:
    """What the poses of the first `share` of the way tell; of frames behind it nothing is known."""
    poses = data.poses.poses.copy()
    labelled = data.labelled < share
    frames = np.where(labelled, "map", "")
    return Nearness.of_drives(poses[:, :2], poses[:, 2], np.full(len(poses), "map"), frames, data.drives)


def report(rows: list[dict]) -> None:
    """The table of means over areas and seeds, and paired differences to the start and to what has no teacher."""
    figures = {(row["robot"], row["row"]): [] for row in rows}
    for row in rows:
        figures[row["robot"], row["row"]].append(row)
    print("\n| robot | taught by | own | others | own: less no teacher | others: less the start | least | s |")
    print("|---" * 8 + "|")
    for (robot, name), found in figures.items():
        own, others = _by_area(found)
        bare = "labelled" if (robot, "labelled") in figures and name != "labelled" else "start"
        base_own, _ = _by_area(figures[robot if bare == "labelled" else "", bare])
        _, start_others = _by_area(figures["", "start"])
        spread = np.std(
            [np.mean([float(r["own"]) for r in found if r["seed"] == s]) for s in {r["seed"] for r in found}]
        )
        texts = ("", "", "")
        if name != "start":
            least = f"{_least_change(found, figures['', 'start']):+.3f}"
            texts = (_difference(own, base_own), _difference(others, start_others), least)
        means = [np.mean([np.mean(list(each.values())) for each in side]) for side in (own, others)]
        cells = (robot, name, f"{means[0]:.3f} ± {spread:.3f}", f"{means[1]:.3f}", *texts)
        print("| " + " | ".join(cells) + f" | {np.mean([float(row['seconds']) for row in found]):.0f} |")


def _difference(first: list[dict[str, float]], second: list[dict[str, float]]) -> str:
    """With its paired interval over areas, where there are enough of them for one."""
    if len(first[0]) < FEWEST_AREAS:
        means = [np.mean([list(each.values()) for each in side]) for side in (first, second)]
        return f"{means[0] - means[1]:+.3f}"
    found = paired_difference(first, second)
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _least_change(found: list[dict], start: list[dict]) -> float:
    """Of all pairs of an own area and another one the least gain there over the start, seeds averaged."""
    gains = []
    for before in start:
        after = [row for row in found if row["area"] == before["area"]]
        gains += [np.mean([float(row[name]) for row in after]) - float(before[name]) for name in OTHERS if after]
    return float(min(gains))


def _by_area(found: list[dict]) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Per seed: own recall by own area, and the recall in every other area, averaged over the own ones."""
    own, others = [], []
    for seed in sorted({row["seed"] for row in found}):
        rows = [row for row in found if row["seed"] == seed]
        own.append({row["area"]: float(row["own"]) for row in rows})
        others.append({name: float(np.mean([float(row[name]) for row in rows])) for name in OTHERS})
    return own, others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/teaching"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rows", nargs="*", help="only these")
    parser.add_argument("--areas", nargs="*", choices=list(OWN), default=list(OWN), help="own streets: only these")
    parser.add_argument("--workers", type=int, default=2, help="that render")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    render(options.out / "drives", options.workers)
    checkpoint = read_checkpoint("nano")
    report(rows_of(options, Kept(options.out, checkpoint.model), Reduced(checkpoint.model, checkpoint.projection)))


if __name__ == "__main__":
    main()
