"""How alike real scans are to one another: two neighbours, other places, and changed copies."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vpr_ros.lidar import compare, polar_grids
from vpr_ros.training.data.sample import Sample
from vpr_ros.training.teachers import Teacher, collate

KITTI_HEIGHT_M = 1.73  # of its scanner above the road
ToFirst = Callable[[list[np.ndarray]], np.ndarray]  # clouds -> similarities (N,) to the first


def like_first_grid(clouds: list[np.ndarray]) -> np.ndarray:
    """Similarities (N,) of the clouds' grids to the first one's."""
    grids = polar_grids(clouds)
    return compare(grids[:1], grids)[0][0]


def like_first(network: Teacher, floor_m: float) -> ToFirst:
    """The same by a network: cosines of its embeddings."""

    def similarities(clouds: list[np.ndarray]) -> np.ndarray:
        samples = [Sample(None, cloud[cloud[:, 2] > floor_m], None, 0) for cloud in clouds]
        found = network.embed(collate(samples, network.inputs, np.random.default_rng(0))).detach().numpy()
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit @ unit[0]

    return similarities


def real_scans(data: Path) -> dict[str, np.ndarray]:
    """Two neighbouring scans of KITTI, two of other places, and changed copies of the second, in base_link."""

    def read(path: Path) -> np.ndarray:
        return np.fromfile(path, np.float32).reshape(-1, 4)[:, :3] + np.array([0, 0, KITTI_HEIGHT_M], np.float32)

    paths = {
        "one": "kitti_scans/000094.bin",
        "its neighbour": "kitti_scans/000095.bin",
        "elsewhere": "kitti_frames/velodyne/000000.bin",
        "elsewhere again": "kitti_frames/velodyne/000001.bin",
    }
    found = {name: read(data / path) for name, path in paths.items()}
    near = found["its neighbour"]
    r = np.hypot(near[:, 0], near[:, 1])
    beam = np.round((np.degrees(np.arctan2(near[:, 2] - KITTI_HEIGHT_M, r)) + 24.8) / 26.8 * 63).astype(int)
    return found | {
        "neighbour, turned round": near * np.array([-1, -1, 1], np.float32),
        "neighbour, every fourth beam": near[beam % 4 == 0],
        "neighbour, up to 25 m": near[r < 25],
    }


def real_table(data: Path, methods: dict[str, ToFirst]) -> str:
    """How alike the first scan is to the others; `methods` give similarities (N,) of clouds to their first."""
    scans = real_scans(data)
    lines = ["| similarity to one scan of KITTI | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    values = [method(list(scans.values())) for method in methods.values()]
    for number, name in enumerate(scans):
        if number:
            lines.append(f"| {name} | " + " | ".join(f"{v[number]:.2f}" for v in values) + " |")
    return "\n".join(lines)
