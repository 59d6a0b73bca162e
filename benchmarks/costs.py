"""What a student costs a robot, several side by side: time, file, memory, first answer, map.

`ratio`: one description of a 480x640 picture (resizing, forward pass, projection) on one CPU thread to one forward pass
of the bare timm ViT-S/14 at 224x224, measured in turns as in benchmarks/student.py. Memory and first answer are of new
processes, the students in turns: resident memory after the checkpoint and a map of one place are loaded, and after 100
answers; seconds from the start of the process to the first answer, imports included, by the wall clock and of CPU time.
`answer_us`: CPU time that a recogniser needs for a described frame of a drive with odometry along a map of ROUTE
keyframes, search, filter and probability together, the students in turns at every frame.
Keyframes: bytes of the map file (descriptor and both poses), and resident bytes of a localizer over many against one
over one. Medians.

    python benchmarks/costs.py --checkpoints nano other.safetensors
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything is imported: one thread, also in the new processes

import argparse
import ctypes
import gc
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

FRAME = (480, 640, 3)
ANSWERS = 100
KEYFRAMES, SPACING_M = 50_000, 2.0
ROUTE, FRAMES = 2000, 400


def resident() -> int:
    """Bytes of this process that are in memory, without what the allocator only keeps for later."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def new_process(checkpoint: str, map_file: str, answers: int, started: float) -> None:
    """What `measured` runs: prints figures as JSON."""
    from vpr_ros.observation import Observation
    from vpr_ros.place_map import PlaceMap
    from vpr_ros.recognition.localizer import Localizer
    from vpr_ros.student import DescriptorExtractor

    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, FRAME, dtype=np.uint8) for _ in range(8)]
    extractor = DescriptorExtractor.from_checkpoint(checkpoint, device="cpu")
    localizer = Localizer(extractor, PlaceMap.open(map_file))
    loaded = resident()
    for i in range(answers):
        observation = Observation(i * 10**8, pictures[i % 8])
        localizer.take(observation, extractor.describe([observation.image])[0])
        if not i:
            first = {"first_answer_s": time.time() - started, "cpu_s": time.process_time()}
    print(json.dumps({**first, "loaded": loaded, "after": resident()}))


def measured(checkpoint: str, map_file: Path, answers: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--process", checkpoint, str(map_file), str(answers), repr(time.time())]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write_map(path: Path, extractor, count: int) -> Path:
    """A map of so many random places for this student."""
    from vpr_ros.place_map import PlaceMap
    from vpr_ros.student.preprocessing import preprocessing_of

    rng, T = np.random.default_rng(1), np.eye(4)
    with PlaceMap.create(
        path,
        fingerprint=extractor.fingerprint,
        dim=extractor.dim,
        parts=extractor.parts,
        preprocessing=preprocessing_of(extractor.model.config),
        place_radius_m=10.0,
    ) as place_map:
        session = place_map.start_session("bench")
        for i in range(count):
            vector = rng.standard_normal(extractor.dim, dtype=np.float32)
            T[0, 3] = SPACING_M * i
            place_map.add(session, i * 10**8, vector / np.linalg.norm(vector), T, T)
    return path


def answers_us(maps: dict[str, Path]) -> dict[str, np.ndarray]:
    """Microseconds of CPU time (FRAMES,) of each student's answers."""
    from vpr_ros.configuration import RecognitionConfig
    from vpr_ros.place_map import PlaceMap
    from vpr_ros.recognition import Recogniser, choose_calibration
    from vpr_ros.student import DescriptorExtractor

    drives = {}
    for name, path in maps.items():
        with PlaceMap.open(path) as place_map:
            calibration = choose_calibration(None, DescriptorExtractor.from_checkpoint(name).calibration, 10.0)
            known = place_map.keyframes()
            drives[name] = Recogniser.of_map(place_map, calibration, RecognitionConfig()), known
    rng, taken = np.random.default_rng(2), {name: np.empty(FRAMES) for name in maps}
    for i in range(FRAMES):
        for name, (recogniser, known) in drives.items():
            view = known.descriptors[i].astype(np.float32) + rng.normal(
                0, 0.5 / known.descriptors.shape[1] ** 0.5, known.descriptors.shape[1]
            )
            started = time.process_time()
            recogniser.recognise(10**12 + i * 10**8, view / np.linalg.norm(view), known.T_odom_base[i])
            taken[name][i] = 1e6 * (time.process_time() - started)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", nargs="+", default=["nano"])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--processes", type=int, default=5, help="new processes for each student")
    parser.add_argument("--process", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        checkpoint, map_file, answers, started = options.process
        new_process(checkpoint, map_file, int(answers), float(started))
        return

    import timm
    import torch
    from student import randomised, ratios

    from vpr_ros.student import DescriptorExtractor
    from vpr_ros.student.catalogue.names import resolve

    torch.set_num_threads(1)
    bare = randomised(timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, img_size=224))
    pixels, frame = torch.randn(1, 3, 224, 224), np.random.default_rng(0).integers(0, 255, FRAME, dtype=np.uint8)
    students = {name: DescriptorExtractor.from_checkpoint(name, device="cpu") for name in options.checkpoints}
    sides = {name: lambda one=one: one.describe([frame]) for name, one in students.items()}
    with torch.inference_mode():
        found, reference_s = ratios(lambda: bare(pixels), {"control": lambda: bare(pixels), **sides}, options.rounds)
    print(f"bare ViT-S/14: {1e3 * reference_s:.0f} ms; control {np.median(found['control']):.3f}")
    with tempfile.TemporaryDirectory() as folder:
        maps = {
            name: [write_map(Path(folder) / f"{n}_{count}.vpr", one, count) for count in (1, KEYFRAMES)]
            for n, (name, one) in enumerate(students.items())
        }
        routes = {name: Path(folder) / f"{n}_route.vpr" for n, name in enumerate(students)}
        answers = answers_us({name: write_map(path, students[name], ROUTE) for name, path in routes.items()})
        runs: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {name: [] for name in students}
        for _ in range(options.processes):
            for name, (one, many) in maps.items():
                runs[name].append((measured(name, one, ANSWERS), measured(name, many, 1)))
        for name, pairs in runs.items():
            middle = {key: float(np.median([one[key] for one, _ in pairs])) for key in pairs[0][0]}
            grown = np.median([many["loaded"] - one["loaded"] for one, many in pairs]) / KEYFRAMES
            low, ratio, high = np.percentile(found[name], (25, 50, 75))
            figures = {
                "ratio": f"{ratio:.3f} [{low:.3f}-{high:.3f}]",
                "numbers": students[name].dim,
                "file_mb": round(resolve(name).stat().st_size / 1e6, 2),
                "loaded_mb": round(middle["loaded"] / 1e6),
                f"after_{ANSWERS}_mb": round(middle["after"] / 1e6),
                "answer_us": "{1:.0f} [{0:.0f}-{2:.0f}]".format(*np.percentile(answers[name], (25, 50, 75))),
                "first_answer_s": round(middle["first_answer_s"], 2),
                "of_cpu_s": round(middle["cpu_s"], 2),
                "file_bytes_a_keyframe": round(maps[name][1].stat().st_size / KEYFRAMES),
                "memory_bytes_a_keyframe": round(float(grown)),
            }
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
