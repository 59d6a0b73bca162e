"""Single-frame Recall@1 in synthetic test cities, by condition and camera, beside an untrained copy and pixels.

The map is a summer day seen by one ordinary camera. Queries are other drives of the same streets: other traffic, lane
offset and light. `fixed`: the same camera; `differing`: another lens, height, pitch and exposure. Test cities were
used for no training and no choice. Descriptors are compared as a recogniser compares them: without the drive's mean
where the checkpoint's calibration was fitted so.

    python benchmarks/conditions.py --out runs/conditions
    python benchmarks/conditions.py --checkpoint nano runs/taught/student.safetensors    # side by side
"""

import argparse
import csv
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from vpr_ros.evaluation.protocols.folders import PixelBaseline
from vpr_ros.offline.baselines import untrained_copy
from vpr_ros.recognition.drive_mean import centred_traverses
from vpr_ros.student import DescriptorExtractor
from vpr_ros.training.synthetic.conditions import CameraConfig, named_conditions, remounted_camera
from vpr_ros.training.synthetic.drive import Drive, plan_drive
from vpr_ros.training.synthetic.kinds import FIRST_TEST_SEED
from vpr_ros.training.synthetic.world.city import WORLD_VERSION

CONDITIONS = ("day", "dusk", "night", "winter")
CAMERAS = ("fixed", "differing")
RADIUS_M = 10.0
FIRST_CITY = FIRST_TEST_SEED + 10  # the demo's cities are others


def city_images(job: tuple[int, float]) -> dict[str, tuple[list[np.ndarray], np.ndarray]]:
    """Pictures and positions (N, 2) of the map drive and of all query drives of one city."""
    seed, length_m = job

    def render(drive: Drive) -> tuple[list[np.ndarray], np.ndarray]:
        images = [drive.frame(i, with_cloud=False).image for i in range(len(drive))]
        return images, drive.T_map_base[:, :2, 3]

    camera = CameraConfig()
    result = {"map": render(plan_drive(seed, named_conditions("day", 1), camera, length_m=length_m, spacing_m=2.5))}
    for number, condition in enumerate(CONDITIONS):
        conditions = named_conditions(condition, 20 + number, lane_offset_m=0.4)
        for lens in CAMERAS:
            other = camera if lens == "fixed" else remounted_camera(camera, seed)
            drive = plan_drive(seed, conditions, other, length_m=length_m, spacing_m=4.0)
            result[f"{condition} {lens}"] = render(drive)
    return result


def compared(describer, database: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of both drives as they are compared."""
    memory_frames = (getattr(describer, "calibration", None) or {}).get("drive_mean_frames", 0.0)
    if not memory_frames:
        return database, queries
    return centred_traverses(database, queries, describer.parts, memory_frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/conditions"))
    parser.add_argument("--checkpoint", nargs="+", default=["nano"], help="the untrained copy is that of the first")
    parser.add_argument("--cities", type=int, default=5)
    parser.add_argument("--length-m", type=float, default=400.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    trained = {one: DescriptorExtractor.from_checkpoint(one, batch_size=16) for one in options.checkpoint}
    methods = {**trained, "untrained": untrained_copy(trained[options.checkpoint[0]]), "pixels": PixelBaseline()}
    width = max(20, *(len(name) + 2 for name in methods))
    hits: dict[tuple[str, str], list[list[bool]]] = {}
    jobs = [(FIRST_CITY + i, options.length_m) for i in range(options.cities)]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for images in pool.map(city_images, jobs):
            reference, reference_xy = images.pop("map")
            for method, describer in methods.items():
                database = np.asarray(describer.describe(reference), np.float32)
                for name, (queries, xy) in images.items():
                    known, asked = compared(describer, database, np.asarray(describer.describe(queries), np.float32))
                    best = np.argmax(asked @ known.T, axis=1)
                    right = np.linalg.norm(reference_xy[best] - xy, axis=1) <= RADIUS_M
                    hits.setdefault((name, method), []).append(right.tolist())
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "conditions.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["condition", "camera", "method", "recall@1", "std over cities", "queries", "world"])
        print(f"{'condition':<18}" + "".join(f"{m:>{width}}" for m in methods) + f"{'queries':>10}")
        for name in dict.fromkeys(name for name, _ in hits):
            cells, queries = [], 0
            for method in methods:
                by_city = [float(np.mean(city)) for city in hits[name, method]]
                queries = sum(map(len, hits[name, method]))
                mean, spread = float(np.mean(by_city)), float(np.std(by_city, ddof=1)) if len(by_city) > 1 else 0.0
                cells.append(f"{mean:.3f} ± {spread:.3f}")
                writer.writerow([*name.split(), method, f"{mean:.4f}", f"{spread:.4f}", queries, WORLD_VERSION])
            print(f"{name:<18}" + "".join(f"{c:>{width}}" for c in cells) + f"{queries:>10}", flush=True)


if __name__ == "__main__":
    main()
