"""Reduced decoding of large JPEGs: what it saves, and what it does to descriptors and to recall@1.

`pictures.fraction_for` lets a JPEG come at a half, a quarter or an eighth of its sides where the network's input needs
no more. Real photos (`photos/outdoor`, `sf_toy`; JPEG as they are) tell the cosine to the descriptor of the whole
picture, beside that of the same picture compressed once more at quality 80. Recall@1 of the most similar picture: two
walks of a real corridor, enlarged four times (`corridor`), and a rendered city by day and at dusk at 1280x720
(synthetic), both as JPEG of quality 90; with the database and the queries whole or reduced, and, as a control, with
the queries whole and compressed once more at quality 80.

    python benchmarks/reduced_pictures.py --data FOLDER
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from vpr_ros import pictures  # noqa: E402
from vpr_ros.sensors.picture_files import list_pictures  # noqa: E402
from vpr_ros.student import DescriptorExtractor  # noqa: E402

CITY, SPACING_M, QUALITY, CONTROL_QUALITY = 2110, 4.0, 90, 80
CORRIDOR_SCALE, CORRIDOR_FRAMES = 4, 2  # frames: of one place
PLACE_M = 10.0
SIZES = ((640, 480), (1280, 720), (1920, 1080))


class Describing:
    """Descriptors of JPEG files, whole and reduced."""

    def __init__(self, checkpoint: str):
        self.extractor = DescriptorExtractor.from_checkpoint(checkpoint, device="cpu")
        self.least = self.extractor.input_size

    def whole(self, files: list[bytes]) -> np.ndarray:
        """(N, dim) of all the pixels."""
        return self._rows(files, None)

    def reduced(self, files: list[bytes]) -> np.ndarray:
        """(N, dim) of as many as the network needs."""
        return self._rows(files, self.least)

    def _rows(self, files: list[bytes], least: tuple[int, int] | None) -> np.ndarray:
        rows = [self.extractor.describe_raw([pictures.pixels_of(data, least=least)])[0] for data in files]
        return np.stack(rows) / np.linalg.norm(rows, axis=1, keepdims=True)


def once_more(data: bytes) -> bytes:
    """The picture decoded and compressed again."""
    return pictures.encode(pictures.pixels_of(data), quality=CONTROL_QUALITY)


def cosines(describing: Describing, files: list[bytes], what: str) -> None:
    """Prints how near the reduced pictures' descriptors are to those of the whole ones."""
    whole = describing.whole(files)
    rows = {
        "reduced": describing.reduced(files),
        f"whole, once more at quality {CONTROL_QUALITY}": describing.whole([once_more(one) for one in files]),
    }
    for name, other in rows.items():
        cosine = (whole * other).sum(axis=1)
        print(f"| {what} ({len(files)}) | {name} | {np.median(cosine):.4f} | {cosine.min():.4f} |", flush=True)


def recalls(describing: Describing, database: list[bytes], queries: list[bytes], right: np.ndarray, what: str) -> None:
    """Prints recall@1; `right` (queries, database) says which pairs are one place."""
    kinds = {"whole": describing.whole, "reduced": describing.reduced}
    searched = {name: describe(database) for name, describe in kinds.items()}
    asked = {name: describe(queries) for name, describe in kinds.items()}
    asked[f"whole, once more at quality {CONTROL_QUALITY}"] = describing.whole([once_more(one) for one in queries])
    for stored, rows in searched.items():
        for name, query in asked.items():
            if stored == "reduced" and name not in kinds:
                continue
            best = (query @ rows.T).argmax(axis=1)
            hit = right[np.arange(len(queries)), best]
            cells = what, len(queries), stored, name, f"{hit.mean():.3f}"
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def corridor(data: Path) -> tuple[list[bytes], list[bytes], np.ndarray]:
    """Database, queries and truth of the two walks, enlarged."""
    walks = []
    for name in ("ref", "query"):
        images = [pictures.load(file) for file in list_pictures(data / "corridor" / name)]
        large = [
            cv2.resize(image, None, fx=CORRIDOR_SCALE, fy=CORRIDOR_SCALE, interpolation=cv2.INTER_CUBIC)
            for image in images
        ]
        walks.append([pictures.encode(image, quality=QUALITY) for image in large])
    rows = [np.arange(len(walk)) for walk in walks]
    return walks[0], walks[1], abs(rows[1][:, None] - rows[0]) <= CORRIDOR_FRAMES


def city(length_m: float) -> tuple[list[bytes], list[bytes], np.ndarray]:
    """Database, queries and truth of a rendered city by day and at dusk."""
    from vpr_ros.training.synthetic import CameraConfig, named_conditions, plan_drive

    drives, files = [], []
    for seed, light in enumerate(("day", "dusk")):
        conditions = named_conditions(light, seed=seed, lane_offset_m=0.4 * seed)
        drive = plan_drive(CITY, conditions, CameraConfig(1280, 720), length_m=length_m, spacing_m=SPACING_M)
        frames = list(drive.frames(with_clouds=False))
        drives.append(drive.T_map_base[:, :2, 3])
        files.append([pictures.encode(frame.image, quality=QUALITY) for frame in frames])
    gaps = np.linalg.norm(drives[1][:, None] - drives[0], axis=2)
    return files[0], files[1], gaps <= PLACE_M


def decoding(describing: Describing, photo: np.ndarray, repeats: int) -> None:
    """Prints milliseconds from the file's bytes to the network's input, whole and reduced in turn."""
    for size in SIZES:
        data = pictures.encode(cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC), quality=QUALITY)
        taken: dict[str, list[float]] = {"whole": [], "reduced": []}
        for _ in range(repeats):
            for name, least in (("whole", None), ("reduced", describing.least)):
                started = time.process_time()
                describing.extractor.prepare(pictures.pixels_of(data, least=least))
                taken[name].append(1e3 * (time.process_time() - started))
        whole, reduced = (np.percentile(taken[name], (25, 50, 75)) for name in ("whole", "reduced"))
        shape = f"{size[0]}x{size[1]}, {len(data) // 1024} kB"
        cells = " | ".join(f"{two:.2f} [{one:.2f} to {three:.2f}]" for one, two, three in (whole, reduced))
        print(f"| {shape} | {cells} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--length-m", type=float, default=600.0, help="of the rendered drives")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    describing = Describing(options.checkpoint)
    photos = list_pictures(options.data / "photos" / "outdoor")
    print("| JPEG | whole (ms) | reduced (ms) |\n|---|---|---|")
    decoding(describing, pictures.load(photos[0]), options.repeats)
    print("\n| photos | compared | cosine, median | lowest |\n|---|---|---|---|")
    cosines(describing, [file.read_bytes() for file in photos], "photos/outdoor")
    toy = [*list_pictures(options.data / "sf_toy" / "database"), *list_pictures(options.data / "sf_toy" / "queries")]
    cosines(describing, [file.read_bytes() for file in toy], "sf_toy")
    print("\n| pictures | queries | database | queries | recall@1 |\n|---|---|---|---|---|")
    recalls(describing, *corridor(options.data), f"corridor, enlarged {CORRIDOR_SCALE} times")
    recalls(describing, *city(options.length_m), f"city {CITY}, 1280x720 (synthetic)")


if __name__ == "__main__":
    main()
