"""Photographs, rendered sets and scored traverses as maps of a frozen trunk, computed once and kept in files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
from trunk_pictures import Traverses, picture

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR
from vpr_ros.training.adapt.maps import packed
from vpr_ros.training.data.augment.images import AugmentConfig, augment
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.sample import METRES, Modality, Sample, SampleSet

PHOTO_GAP_M = 8.0  # stands for a step between photographs: neighbours are neither one place nor two
VIEWS = 4


class Pictures(SampleSet):
    """Pictures of any kind in one table; areas of different kinds have different names."""

    cloud_unit = METRES

    def __init__(self, kind: str, positions_m, headings_rad, areas, drives) -> None:
        self.name, self.positions_m = kind, np.asarray(positions_m, float)
        self.headings_rad: np.ndarray = np.asarray(headings_rad, float)
        self.areas = np.array([f"{kind} {area}" for area in areas])
        self.drives, self.conditions = np.asarray(drives).astype(str), np.full(len(self.areas), "")
        self.stamps_ns = np.arange(len(self.areas))

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        raise VprError(f"picture {row} of {self.name} was made into maps and is not kept.")


def photographs(folder: Path, size: tuple[int, int], seed: int) -> tuple[Pictures, Iterator[np.ndarray]]:
    """Every photograph as it is and in augmented views; its place is its number in its sequence."""
    paths = sorted(folder.rglob("*.jpg"))
    named = [re.fullmatch(r"(\w+)_(\d+)", path.stem) for path in paths]
    places = [(match[1], int(match[2])) for match in named if match is not None]
    if len(places) < len(paths):
        raise VprError(f"{folder} holds pictures whose names do not end in an underscore and a number.")

    def views() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(seed)
        for path in paths:
            image = picture(path)
            for view in range(VIEWS):
                yield augment(image, size, AugmentConfig(), 1.0, rng) if view else image

    xy = [(PHOTO_GAP_M * number, 0.0) for _, number in places for _ in range(VIEWS)]
    areas, drives = [area for area, _ in places for _ in range(VIEWS)], list(range(VIEWS)) * len(paths)
    return Pictures("photos", xy, np.zeros(len(xy)), areas, drives), views()


def rendered(kind: str, folder: Path) -> tuple[Pictures, Iterator[np.ndarray]]:
    """The pictures of a training set."""
    held = TrainingSetSamples(folder)
    table = Pictures(kind, held.positions_m, held.headings_rad, held.areas, held.drives)
    return table, (picture(Path(path)) for path in held.table.images)


def kept(path: Path, student: D2VPR, images: Iterable[np.ndarray]) -> np.ndarray:
    """Maps (N, K) of pictures, computed once."""
    if not path.is_file():
        np.save(path, packed(student, images))
    return np.load(path, allow_pickle=False)


def kept_sets(path: Path, student: D2VPR, make: Callable[[], list[Traverses]]) -> tuple[list[Traverses], np.ndarray]:
    """The traverses, their pictures as row numbers, and the maps (N, K) of these rows, computed once."""
    if not path.is_file():
        made = make()
        rows = {id(image): image for one in made for image in (*one.database, *one.queries)}
        at = {key: number for number, key in enumerate(rows)}
        stored = {"maps": packed(student, rows.values()), "names": np.array([one.name for one in made])}
        for number, one in enumerate(made):
            stored[f"{number} database"] = np.array([at[id(image)] for image in one.database])
            stored[f"{number} queries"] = np.array([at[id(image)] for image in one.queries])
            stored[f"{number} right"] = one.right
        np.savez(path, **stored)  # pyright: ignore[reportArgumentType]  # its stub
    with np.load(path, allow_pickle=False) as held:
        sets = [
            Traverses(
                str(name), list(held[f"{number} database"]), list(held[f"{number} queries"]), held[f"{number} right"]
            )
            for number, name in enumerate(held["names"])
        ]
        return sets, held["maps"]
