"""Zero-shot recognition on real photos: two walks of a corridor, and a railway in summer and winter.

Each traverse becomes a ROS 2 bag, and the pair goes through `vpr_ros map`, `localize` and `eval`, as a robot's bags
do. The untrained copy of the same network goes the same way; the pixel baseline compares the same pictures. Nothing
is trained or chosen on these sets. The folder needs `corridor/{query,ref}` and `nordland_thumbs/{summer,winter}`.

    python benchmarks/real_sets.py --data FOLDER --out runs/real_sets
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2

from vpr_ros.evaluation.pairs import Pair, write_pairs
from vpr_ros.evaluation.protocols.folders import FolderConfig, PixelBaseline, evaluate_folders
from vpr_ros.offline.baselines import untrained_copy
from vpr_ros.sensors import Bag, stamp_ns
from vpr_ros.student import DescriptorExtractor, save_checkpoint

RATE_HZ = 5.0
MIN_GREY = 30.0  # tunnels of the railway: a pair counts only if both pictures are brighter


def vpr(*arguments) -> None:
    """One command of the product, in a process of its own."""
    subprocess.run(
        [Path(sys.executable).with_name("vpr_ros"), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL
    )


def brightness(path: Path) -> float:
    """Mean grey level; 0 for a file that is no picture."""
    image = cv2.imread(str(path))
    return 0.0 if image is None else float(image.mean())


def bright_pairs(first: Path, second: Path) -> list[str]:
    """Names that both folders have and that are bright in both."""
    names = sorted({p.name for p in first.iterdir()} & {p.name for p in second.iterdir()})
    return [n for n in names if all(brightness(f / n) > MIN_GREY for f in (first, second))]


def numbered(names: list[str], folder: Path, out: Path) -> None:
    out.mkdir(parents=True)
    for number, name in enumerate(names):
        shutil.copyfile(folder / name, out / f"{number:06d}{Path(name).suffix}")


def stamps_of(bag: Path) -> list[int]:
    with Bag(bag) as opened:
        return [stamp_ns(message) for _, _, message in opened.messages([t.name for t in opened.topics])]


def measure(work: Path, name: str, reference: Path, query: Path, tolerance: int, checkpoints: dict[str, str]) -> dict:
    """Recall@1 by method for one pair of traverses whose i-th pictures show the same place."""
    for role, folder in (("reference", reference), ("query", query)):
        vpr("bag", folder, "-o", work / name / role, "--rate-hz", RATE_HZ)
    pairs = zip(stamps_of(work / name / "query"), stamps_of(work / name / "reference"), strict=True)
    write_pairs(work / name / "pairs.csv", [Pair(q, r, tolerance) for q, r in pairs])
    row: dict = {"set": name}
    for method, checkpoint in checkpoints.items():
        map_file, run = work / name / f"{method}.vpr", work / name / method
        vpr("map", work / name / "reference", "-o", map_file, "--keyframe-every", 1, "-c", checkpoint)
        vpr("localize", work / name / "query", "--map", map_file, "-o", run, "-c", checkpoint)
        vpr("eval", "run", run, "--truth", work / name / "pairs.csv", "--map", map_file)
        figures = json.loads((run / "eval.json").read_text())
        figures = figures.get("evaluation", figures)
        row[method] = figures["recall"]["1"]
        row[f"{method} filtered"] = figures["filtered_recall"]
        row["queries"] = figures["on_map"]
    truth = f"frames:{tolerance}"
    row["pixels"] = evaluate_folders(PixelBaseline(), reference, query, FolderConfig(truth=truth)).recall[1]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/real_sets"))
    parser.add_argument("--checkpoint", default="nano")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    extractor = DescriptorExtractor.from_checkpoint(options.checkpoint)
    untrained = options.out / "untrained.safetensors"
    save_checkpoint(untrained, untrained_copy(extractor).model)
    checkpoints = {"trained": options.checkpoint, "untrained": str(untrained)}
    sets = {
        "corridor": (options.data / "corridor/ref", options.data / "corridor/query", 2),
        "nordland": (options.data / "nordland_thumbs/summer", options.data / "nordland_thumbs/winter", 0),
    }
    rows = []
    for name, (reference, query, tolerance) in sets.items():
        names = [sorted(p.name for p in folder.iterdir()) for folder in (reference, query)]
        if name == "nordland":
            names = [bright_pairs(reference, query)] * 2
        for role, folder, chosen in (("ref", reference, names[0]), ("qry", query, names[1])):
            numbered(chosen, folder, options.out / f"{name}_{role}")
        rows.append(
            measure(options.out, name, options.out / f"{name}_ref", options.out / f"{name}_qry", tolerance, checkpoints)
        )
    (options.out / "real_sets.json").write_text(json.dumps(rows, indent=1))
    for row in rows:
        print("  ".join(f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
