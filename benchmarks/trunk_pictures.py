"""Pictures for choosing a student without training: real pairs of traverses, hard rendered cities, and what a PCA sees.

A pair has database pictures, query pictures and which of them show the same place. The rendered cities are validation
ones, made harder than those of training: dusk, night and winter, each seen by the map's camera, and by quite another
one 2.5 m beside its track; a match counts within 6 m.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.pictures import read
from vpr_ros.training.synthetic.conditions import CameraConfig, named_conditions, random_camera
from vpr_ros.training.synthetic.drive import Drive, plan_drive
from vpr_ros.training.synthetic.kinds import VALIDATION_SEEDS

HARD_CITIES = tuple(VALIDATION_SEEDS)[10:14]
HARD_CONDITIONS = ("dusk", "night", "winter")
HARD_RADIUS_M = 6.0
MIN_GREY = 30.0  # tunnels of the railway: a pair counts only if both pictures are brighter
EVERY = 6  # neighbouring thumbnails of the railway show nearly the same
PHOTO_GAIN = (0.7, 1.3)
PHOTO_GAMMA = (0.6, 1.6)
PHOTO_CROP = 0.12


@dataclass(frozen=True)
class Traverses:
    """Database and query pictures (h, w, 3) uint8 RGB in the order of their drives; `right` (Q, D) bool."""

    name: str
    database: list[np.ndarray]
    queries: list[np.ndarray]
    right: np.ndarray


def picture(path: Path) -> np.ndarray:
    """Pixels (h, w, 3) uint8 RGB of a file; VprError where it is no picture."""
    image = read(path)
    if image is None:
        raise VprError(f"{path} is no picture that can be read.")
    return image


def real_traverses(data: Path) -> Iterator[Traverses]:
    """Two walks of a corridor (two frames apart still count), and a railway in summer and winter (exact).

    The railway is the first half of its pictures, every sixth pair that is bright in both.
    """
    first, second = [
        [picture(path) for path in sorted((data / "corridor" / role).iterdir())] for role in ("ref", "query")
    ]
    yield Traverses("corridor", first, second, right=_near(len(second), len(first), 2))
    seasons = [data / "nordland_thumbs" / season for season in ("summer", "winter")]
    names = sorted(set.intersection(*({path.name for path in folder.iterdir()} for folder in seasons)))
    pairs = [[read(folder / name) for folder in seasons] for name in names[: len(names) // 2]]
    bright = [pair for pair in pairs if all(image is not None and image.mean() > MIN_GREY for image in pair)][::EVERY]
    summer, winter = map(list, zip(*bright, strict=True))
    yield Traverses("nordland", summer, winter, right=_near(len(winter), len(summer), 0))


def _near(queries: int, database: int, tolerance: int) -> np.ndarray:
    return np.abs(np.arange(queries)[:, None] - np.arange(database)[None]) <= tolerance


def hard_traverses(kept: Path | None = None, cities: int = len(HARD_CITIES), workers: int = 2) -> Iterator[Traverses]:
    """Every condition and camera of the first so many hard cities, against its summer day; folder `kept` keeps them."""
    with tempfile.TemporaryDirectory() as instead:
        files = {seed: Path(kept or instead) / f"city_{seed}.npz" for seed in HARD_CITIES[:cities]}
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            missing = [(seed, file) for seed, file in files.items() if not file.is_file()]
            for done in [pool.submit(_render, *each) for each in missing]:
                done.result()
        for file in files.values():
            with np.load(file, allow_pickle=False) as stored:
                database = list(stored["database"])
                for number, lens in enumerate(stored["lenses"]):
                    yield Traverses(str(lens), database, list(stored[f"queries_{number}"]), stored[f"right_{number}"])


def _render(seed: int, file: Path) -> None:
    found = _city(seed)
    rows = {f"queries_{n}": np.stack(one.queries) for n, one in enumerate(found)}
    rows |= {f"right_{n}": one.right for n, one in enumerate(found)}
    np.savez(file, database=np.stack(found[0].database), lenses=np.array([one.name for one in found]), **rows)  # pyright: ignore[reportArgumentType]  # its stub


def _city(seed: int) -> list[Traverses]:
    def render(drive: Drive) -> tuple[list[np.ndarray], np.ndarray]:
        return [drive.frame(i, with_cloud=False).image for i in range(len(drive))], drive.T_map_base[:, :2, 3]

    camera = CameraConfig(width=320, height=240)
    database, map_xy = render(plan_drive(seed, named_conditions("day", 1), camera, length_m=600.0, spacing_m=2.5))
    found = []
    for number, condition in enumerate(HARD_CONDITIONS):
        other = random_camera(np.random.default_rng(7 * seed + number), 320, 240)
        for lens, chosen, offset_m in (("fixed", camera, 0.8), ("differing", other, 2.5)):
            conditions = named_conditions(condition, 40 + number, lane_offset_m=offset_m)
            queries, xy = render(plan_drive(seed, conditions, chosen, length_m=600.0, spacing_m=4.0))
            right = np.linalg.norm(xy[:, None] - map_xy[None], axis=2) <= HARD_RADIUS_M
            found.append(Traverses(lens, database, queries, right))
    return found


def pictures_for_pca(photos: Path, folders: list[Path], limit: int, seed: int) -> Iterator[np.ndarray]:
    """Photographs, each with a copy under another light and cut; then up to `limit` pictures of every other folder."""
    rng = np.random.default_rng(seed)
    for path in sorted(photos.rglob("*.jpg")):
        image = picture(path)
        yield image
        yield _relit(_cut(image, rng), rng)
    for folder in folders:
        paths = sorted(folder.rglob("*.jpg"))
        for at in rng.permutation(len(paths))[:limit]:
            yield picture(paths[at])


def _cut(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    top, bottom, left, right = rng.uniform(0, PHOTO_CROP, 4)
    return image[int(top * height) : height - int(bottom * height), int(left * width) : width - int(right * width)]


def _relit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    light = rng.uniform(*PHOTO_GAIN, 3) * rng.uniform(*PHOTO_GAIN)
    relit = (image.astype(np.float32) / 255) ** rng.uniform(*PHOTO_GAMMA) * light
    return (relit.clip(0, 1) * 255).astype(np.uint8)
