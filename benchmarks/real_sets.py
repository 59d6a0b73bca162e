"""Zero-shot recognition on real photos: two walks of a corridor, and a railway in summer and winter.

Each traverse becomes a ROS 2 bag, and the pair goes through `vpr_ros map`, `localize` and `eval`, as a robot's bags do,
with the drive's mean taken out of descriptors and without, and once more with local features compared at every frame
(`matched`). The same pictures are compared by pixels, by HOG and by an
untrained copy of the network, and `in 20` says how often a right place is among 20 candidates of its search. Nothing is
trained on these sets; the shipped network's configuration was chosen on `corridor` and on every sixth pair of the
railway's first half (`development`), and `held out` is every sixth pair of its second half. The folder needs
`corridor/{query,ref}` and `nordland_thumbs/{summer,winter}`.

    python benchmarks/real_sets.py --data FOLDER --out runs/real_sets
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.configuration import DRIVE_MEAN_FRAMES
from vpr_ros.evaluation.pairs import Pair, write_pairs
from vpr_ros.evaluation.protocols.folders import (
    HogBaseline,
    ImageDescriber,
    PixelBaseline,
    describe_files,
)
from vpr_ros.offline.baselines import untrained_copy
from vpr_ros.place_map import PartedIndex
from vpr_ros.recognition.drive_mean import centred_traverses
from vpr_ros.sensors import Bag, stamp_ns
from vpr_ros.sensors.picture_files import list_pictures
from vpr_ros.student import DescriptorExtractor

RATE_HZ = 5.0
CANDIDATES = 20
EVERY = 6  # neighbouring pictures of the railway show nearly the same
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


def railway(first: Path, second: Path) -> dict[str, list[str]]:
    """By part of the line: names that both folders have and that are bright in both."""
    names = sorted({p.name for p in first.iterdir()} & {p.name for p in second.iterdir()})
    bright = [n for n in names if all(brightness(f / n) > MIN_GREY for f in (first, second))]
    middle = names[len(names) // 2]
    return {
        "railway development": [n for n in bright if n < middle][::EVERY],
        "railway held out": [n for n in bright if n >= middle][::EVERY],
        "railway": bright,
    }


def numbered(names: list[str], folder: Path, out: Path) -> None:
    out.mkdir(parents=True)
    for number, name in enumerate(names):
        shutil.copyfile(folder / name, out / f"{number:06d}{Path(name).suffix}")


def stamps_of(bag: Path) -> list[int]:
    with Bag(bag) as opened:
        images = [t.name for t in opened.topics if t.msgtype.endswith("Image")]
        return [stamp_ns(message) for _, _, message in opened.messages(images)]


def by_pictures(describer: ImageDescriber, reference: Path, query: Path, tolerance: int) -> dict[str, float]:
    """Recall@1 and the share of queries with a right place among 20 candidates, without drives' means and with them."""
    mapped, asked = [describe_files(describer, list_pictures(folder)).descriptors for folder in (reference, query)]
    compared = {
        "": centred_traverses(mapped, asked, describer.parts, DRIVE_MEAN_FRAMES),
        ", no mean": (mapped, asked),
    }
    shares, right = {}, np.abs(np.arange(len(asked))[:, None] - np.arange(len(mapped))) <= tolerance
    for label, (database, queries) in compared.items():
        index = PartedIndex(describer.parts).build(database.astype(np.float16))
        found = [index.search(one, CANDIDATES).rows for one in queries]
        for name, rows in (("@1", [each[:1] for each in found]), (f" in {CANDIDATES}", found)):
            shares[f"{name}{label}"] = float(np.mean([right[i, each].any() for i, each in enumerate(rows)]))
    return shares


def measure(work: Path, name: str, tolerance: int, checkpoint: str, extractor: DescriptorExtractor) -> dict:
    """Figures of one pair of traverses whose i-th pictures, in `work`, show the same place: Recall@1 by method."""
    reference, query = [work / "pictures" / role for role in ("reference", "query")]
    bags = [work / role for role in ("reference", "query")]
    for folder, bag in zip((reference, query), bags, strict=True):
        vpr("bag", folder, "-o", bag, "--rate-hz", RATE_HZ)
    stamps = [stamps_of(bag) for bag in bags]
    write_pairs(work / "pairs.csv", [Pair(q, r, tolerance) for r, q in zip(*stamps, strict=True)])
    row: dict = {"set": name, "queries": len(stamps[1])}
    vpr("map", bags[0], "-o", work / "map.vpr", "--keyframe-every", 1, "-c", checkpoint)
    ways = (
        ("", ("drive_mean_frames=-1", "local_features=none")),
        (", no mean", ("drive_mean_frames=0", "local_features=none")),
        (", matched", ("local_rest_at=1",)),  # every frame by local features too, however sure the filter is
    )
    for number, (label, settings) in enumerate(ways):
        run = work / f"run_{number}"
        common = ("--map", work / "map.vpr", "-c", checkpoint, "--no-report")
        vpr("localize", bags[1], "-o", run, *common, *(word for one in settings for word in ("--set", one)))
        vpr("eval", "run", run, "--truth", work / "pairs.csv", "--map", work / "map.vpr")
        figures = json.loads((run / "eval.json").read_text())
        figures = figures.get("evaluation", figures)
        row |= {f"student{label}": figures["recall"]["1"], f"filtered{label}": figures["filtered_recall"]}
    for describer in (extractor, untrained_copy(extractor), PixelBaseline(), HogBaseline()):
        name = "single" if describer is extractor else describer.name.split()[-1]
        row |= {f"{name}{key}": share for key, share in by_pictures(describer, reference, query, tolerance).items()}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/real_sets"))
    parser.add_argument("--checkpoint", default="nano")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    extractor = DescriptorExtractor.from_checkpoint(options.checkpoint)
    corridor = [options.data / "corridor" / role for role in ("ref", "query")]
    seasons = [options.data / "nordland_thumbs" / season for season in ("summer", "winter")]
    sets = {"corridor": (corridor, [sorted(p.name for p in folder.iterdir()) for folder in corridor], 2)}
    sets |= {name: (seasons, [names] * 2, 0) for name, names in railway(*seasons).items()}
    rows = []
    for name, (folders, names, tolerance) in sets.items():
        work = options.out / name.replace(" ", "_")
        for role, folder, chosen in zip(("reference", "query"), folders, names, strict=True):
            numbered(chosen, folder, work / "pictures" / role)
        rows.append(measure(work, name, tolerance, options.checkpoint, extractor))
        print(
            "  ".join(f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" for k, v in rows[-1].items()), flush=True
        )
    (options.out / "real_sets.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
