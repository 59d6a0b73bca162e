"""Cameras that do not stand upright: what they cost, whether a map finds them, and whether pictures alone tell.

`recognised`: the corridor's second walk, turned, against its first: single-frame Recall@1 (within two frames), accepted
frames and what `vpr_ros localize` advises, as it comes and with the right `--rotate`. `by a map`: draws of 16 pictures
of a set, as `vpr_ros doctor --map` takes them, against each map: the share whose right orientation is named, named
wrongly, and not named. `by pictures alone`: the share of draws of 16 neighbouring pictures in which a cue picks the
right one of four orientations: brighter at the top, busier at the bottom, more upright than level edges, and all three.

    python benchmarks/orientation.py --data FOLDER --demo demo_out
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from trunk_pictures import Traverses, picture, real_traverses

from vpr_ros.configuration import GateConfig
from vpr_ros.evaluation.matches import read_matches
from vpr_ros.offline.image_source import images_of
from vpr_ros.offline.localize_bag import LocalizeBagConfig, localize_bag
from vpr_ros.offline.map_bag import MapBagConfig, map_bag
from vpr_ros.offline.orientation import FRAMES, best_orientation
from vpr_ros.sensors import BagWriter, DriveConfig, compressed_image_msg
from vpr_ros.sensors.bags.config import rotate_of
from vpr_ros.sensors.upright import ROTATIONS, turned
from vpr_ros.student import DescriptorExtractor

DRAWS, STEP_NS = 200, 100_000_000


def write_bag(path: Path, images: list[np.ndarray]) -> Path:
    with BagWriter(path) as bag:
        for i, image in enumerate(images, 1):
            bag.write("/camera/image/compressed", compressed_image_msg(image, i * STEP_NS, format="png"), i * STEP_NS)
    return path


def recognised(pair: Traverses, extractor: DescriptorExtractor) -> None:
    print("| the camera needs | --rotate | Recall@1 | accepted | advice |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = write_bag(folder / "first", pair.database)
        map_bag(first, folder / "m.vpr", extractor, MapBagConfig(gate=GateConfig(every_n=1)))
        for rotation in ROTATIONS:
            raw = [turned(image, ROTATIONS[-rotation // 90 % 4]) for image in pair.queries]
            bag = write_bag(folder / f"by{rotation}", raw)
            for rotate in dict.fromkeys(("auto", str(rotation))):
                if rotation == 0 and rotate != "auto":
                    continue
                out = folder / f"{rotation}_{rotate}"
                config = LocalizeBagConfig(drive=DriveConfig(rotate=rotate_of(rotate)))
                result = localize_bag(bag, folder / "m.vpr", out, extractor, config)
                best = [record.retrieval[0][0] - 1 for record in read_matches(out / "matches.jsonl")]
                recall = pair.right[np.arange(len(best)), best].mean()
                advice = next((hint.rpartition(": ")[2] for hint in result.hints if "--rotate" in hint), "none")
                print(f"| {rotation} | {rotate} | {recall:.3f} | {result.counts['accepted']} | {advice} |")


def described(images: list[np.ndarray], extractor: DescriptorExtractor) -> np.ndarray:
    """Descriptors (4, N, dim) float32 in each orientation."""
    return np.stack([np.asarray(extractor.describe([turned(i, r) for i in images]), np.float32) for r in ROTATIONS])


def by_a_map(
    maps: dict[str, list[np.ndarray]], drives: dict[str, list[np.ndarray]], extractor: DescriptorExtractor
) -> None:
    rows = {name: np.asarray(extractor.describe(images)) for name, images in maps.items()}
    queries = {name: described(images, extractor) for name, images in drives.items()}
    print("\n| map | pictures | named right | named wrongly | not named | smallest and largest lead |")
    print("|---|---|---|---|---|---|")
    for town, keyframes in rows.items():
        for name, views in queries.items():
            rng, count = np.random.default_rng(0), views.shape[1]
            draws = [np.sort(rng.choice(count, min(FRAMES, count), replace=False)) for _ in range(DRAWS)]
            found = [best_orientation(views[:, draw], keyframes, extractor.parts) for draw in draws]
            right = np.mean([one.rotation == 0 for one in found])
            silent = np.mean([one.rotation is None for one in found])
            leads = [np.diff(np.sort(one.similarity))[-1] for one in found]
            span = f"{min(leads):.3f} to {max(leads):.3f}"
            print(f"| {town} | {name} | {right:.3f} | {1 - right - silent:.3f} | {silent:.3f} | {span} |")


def brighter_above(grey: np.ndarray) -> float:
    third = len(grey) // 3
    return float((grey[:third].mean() - grey[-third:].mean()) / (grey.std() + 1e-6))


def busier_below(grey: np.ndarray) -> float:
    energy, third = np.hypot(*np.gradient(grey)), len(grey) // 3
    return float(np.log((energy[-third:].mean() + 1) / (energy[:third].mean() + 1)))


def upright_edges(grey: np.ndarray) -> float:
    """Log of the strength of edges within 4 degrees of upright over that of level ones, the strongest third."""
    gy, gx = np.gradient(cv2.GaussianBlur(grey, (0, 0), 1.0))
    strength, angle = np.hypot(gx, gy), np.degrees(np.arctan2(gy, gx)) % 180
    strength[strength < np.percentile(strength, 67)] = 0
    upright = strength[(angle < 4) | (angle > 176)].sum()
    return float(np.log((upright + 1) / (strength[abs(angle - 90) < 4].sum() + 1)))


def by_pictures_alone(drives: dict[str, list[np.ndarray]]) -> None:
    cues: dict[str, Callable[[np.ndarray], float]] = {
        "brighter above": brighter_above,
        "busier below": busier_below,
        "upright edges": upright_edges,
    }
    print(f"\n| pictures | {' | '.join(cues)} | all three |\n|---|---|---|---|---|")
    for name, images in drives.items():
        squares = [[turned(grey(image), r) for r in ROTATIONS] for image in images]
        scores = np.array([[[cue(one) for one in square] for cue in cues.values()] for square in squares])
        ways = [scores[:, i] for i in range(len(cues))] + [scores.sum(axis=1)]  # each (N, 4)
        starts = np.random.default_rng(0).integers(0, max(len(images) - FRAMES, 0) + 1, DRAWS)
        cells = []
        for way in ways:
            totals = np.array([way[at : at + FRAMES].mean(axis=0) for at in starts])
            # Edges cannot tell up from down: half of what they get right.
            best = totals >= totals.max(axis=1, keepdims=True) - 1e-9
            cells.append(f"{(best[:, 0] / best.sum(axis=1)).mean():.2f}")
        print(f"| {name} | {' | '.join(cells)} |")


def grey(image: np.ndarray) -> np.ndarray:
    """The middle square, (side, side) float32, so that all orientations see the same."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return cv2.cvtColor(image[top : top + side, left : left + side], cv2.COLOR_RGB2GRAY).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds corridor, nordland_thumbs, sf_toy and photos")
    parser.add_argument("--demo", type=Path, help="a folder that `vpr_ros demo` wrote, for the rendered drives")
    parser.add_argument("--checkpoint", default="nano")
    options = parser.parse_args()
    extractor, data = DescriptorExtractor.from_checkpoint(options.checkpoint), options.data
    pairs = {pair.name: pair for pair in real_traverses(data)}
    recognised(pairs["corridor"], extractor)
    folders = {
        "sf_toy": data / "sf_toy" / "queries",
        "indoor": data / "photos/indoor",
        "outdoor": data / "photos/outdoor",
    }
    more = {name: [picture(path) for path in sorted(folder.glob("*.jpg"))] for name, folder in folders.items()}
    maps = {name: pair.database for name, pair in pairs.items()}
    maps["sf_toy"] = [picture(path) for path in sorted((data / "sf_toy" / "database").glob("*.jpg"))]
    drives = {name: pair.queries for name, pair in pairs.items()} | more
    if options.demo is not None:
        maps["rendered"] = list(images_of(options.demo / "bags" / "first", 120))
        drives["rendered, half of it off the map"] = list(images_of(options.demo / "bags" / "second", 120))
    by_a_map(maps, {name: images[:: max(len(images) // 120, 1)] for name, images in drives.items()}, extractor)
    by_pictures_alone(drives)


if __name__ == "__main__":
    main()
