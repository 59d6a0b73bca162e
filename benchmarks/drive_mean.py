"""What taking the drive's mean out of descriptors does to a robot that stands, starts in a tunnel, or has just started.

Single-frame Recall@1 of the recogniser, without odometry, on the development pictures (corridor within two frames;
every sixth bright pair of the railway's first half, exact), by the memory of the mean in frames; 0: descriptors as they
are. `standing`: the 30 frames after 200 noisy ones of one spot, mean over five spots, and the same frames of a drive
that did not stand. `tunnel`: the frames after 40 dark ones of the railway at the start of the drive, and the same
frames of a drive that begins with them. `first`: every frame as the first of a drive.

    python benchmarks/drive_mean.py --data FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from trunk_pictures import MIN_GREY, Traverses, picture, real_traverses

from vpr_ros.configuration import DRIVE_MEAN_FRAMES, RecognitionConfig
from vpr_ros.place_map import Keyframes
from vpr_ros.recognition import Recogniser
from vpr_ros.student import DescriptorExtractor

STANDING, SPOTS, NEXT, DARK = 200, 5, 30, 40
NOISE_GREY = 3.0
STEP_NS = 1_200_000_000  # between two frames of a drive; standing frames come six times as often


class Drives:
    """Drives through one map; `right` (Q, D) says which rows answer which query."""

    def __init__(self, pictures: Traverses, extractor: DescriptorExtractor):
        self.right, self.parts = pictures.right, extractor.parts
        rows = extractor.describe(pictures.database)
        n, unknown = len(rows), np.full((len(rows), 4, 4), np.nan)
        self.frames = Keyframes(np.arange(n), np.zeros(n, np.int64), np.arange(n) * STEP_NS, unknown, unknown, rows)
        self.queries = extractor.describe(pictures.queries)

    def hits(self, descriptors: np.ndarray, memory: float, steps: np.ndarray | None = None) -> np.ndarray:
        """Most similar row (N,) at every frame of a drive with these descriptors."""
        config = RecognitionConfig(drive_mean_frames=memory)
        recogniser = Recogniser(self.frames, config=config, parts=self.parts)
        stamps = np.cumsum(np.full(len(descriptors), STEP_NS) if steps is None else steps)
        answers = [recogniser.recognise(int(t), one) for t, one in zip(stamps, descriptors, strict=True)]
        return np.array([answer.retrieval[0][0] for answer in answers])

    def recall(self, best: np.ndarray, queries: np.ndarray) -> float:
        return float(self.right[queries, best].mean())


def standing(drives: Drives, spots: dict[int, np.ndarray], memory: float) -> tuple[float, float]:
    """Recall of the frames after each spot: of the drive that stood there, and of the one that did not."""
    plain, stood, moved = drives.hits(drives.queries, memory), [], []
    for at, still in spots.items():
        after = np.arange(at + 1, min(at + 1 + NEXT, len(drives.queries)))
        drive = np.concatenate([drives.queries[: at + 1], still, drives.queries[after]])
        steps = np.full(len(drive), STEP_NS)
        steps[at + 1 : at + 1 + len(still)] //= 6
        best = drives.hits(drive, memory, steps)[-len(after) :]
        stood.append(drives.recall(best, after))
        moved.append(drives.recall(plain[after], after))
    return float(np.mean(stood)), float(np.mean(moved))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds corridor and nordland_thumbs")
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--memories", type=float, nargs="+", default=[0.0, DRIVE_MEAN_FRAMES])
    options = parser.parse_args()
    extractor, rng = DescriptorExtractor.from_checkpoint(options.checkpoint), np.random.default_rng(0)
    winter = [picture(path) for path in sorted((options.data / "nordland_thumbs" / "winter").iterdir())]
    tunnel = extractor.describe([one for one in winter if one.mean() <= MIN_GREY][:DARK])
    for pictures in real_traverses(options.data):
        drives, count = Drives(pictures, extractor), len(pictures.queries)
        spots = {}
        for at in np.linspace(10, count - NEXT - 1, SPOTS).astype(int):
            noise = rng.normal(0, NOISE_GREY, (STANDING, *pictures.queries[at].shape))
            spots[int(at)] = extractor.describe(list((pictures.queries[at] + noise).clip(0, 255).astype(np.uint8)))
        everything = np.arange(count)
        for memory in options.memories:
            first = np.concatenate([drives.hits(one[None], memory) for one in drives.queries])
            plain = drives.hits(drives.queries, memory)
            dark = drives.hits(np.concatenate([tunnel, drives.queries]), memory)[len(tunnel) :]
            stood, moved = standing(drives, spots, memory)
            print(
                f"{pictures.name} memory={memory:g} all={drives.recall(plain, everything):.3f} "
                f"first={drives.recall(first, everything):.3f} standing={stood:.3f} without={moved:.3f} "
                f"tunnel ({len(tunnel)} frames)={drives.recall(dark, everything):.3f} "
                f"its next {NEXT}={drives.recall(dark[:NEXT], everything[:NEXT]):.3f} "
                f"without={drives.recall(plain[:NEXT], everything[:NEXT]):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
