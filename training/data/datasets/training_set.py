"""Training-set folders (rendered, recorded or converted) as a sample set."""

from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.training.data.links import RowPairs
from vpr_ros.training.data.nearness import Nearness
from vpr_ros.training.data.sample import METRES, Modality, Sample, SampleSet
from vpr_ros.training.data.sensor_files import read_rgb
from vpr_ros.training_set.clouds import read_npy_cloud
from vpr_ros.training_set.format import PAIRS
from vpr_ros.training_set.pairs import read_pairs
from vpr_ros.training_set.reader import FrameTable, read_frame_table


class TrainingSetSamples(SampleSet):
    """The frames of one or several training-set folders; their cities are the areas.

    Clouds are in metres in the base frame, as recorded, converted and rendered sets store them. The name defaults to
    the folders' names. Raises VprError for a folder of another layout, and for pairs of frames that it has not.
    """

    cloud_unit = METRES

    def __init__(self, *folders: str | Path, name: str = ""):
        self.name = name or "+".join(Path(folder).name for folder in folders)
        self.table = table = read_frame_table(*folders)
        self.positions_m, self.headings_rad = table.positions_m, table.headings_rad
        self.areas, self.drives = table.cities.astype(str), table.drives.astype(str)
        self.conditions, self.stamps_ns = table.conditions.astype(str), table.stamps_ns
        self._pairs = _pairs_of(table, [Path(folder) for folder in folders])

    @cached_property
    def nearness(self) -> Nearness:
        table = self.table
        drives = _drive_numbers(table)
        return Nearness.of_drives(
            *(table.positions_m, table.headings_rad, self.areas, table.pose_frames, drives), self._pairs
        )

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        x, y = self.positions_m[row]
        posed = self.table.pose_frames[row] != ""
        cloud = self.table.clouds[row] if "cloud" in modalities else None
        return Sample(
            image=read_rgb(self.table.images[row]) if "image" in modalities else None,
            cloud=None if cloud is None else read_npy_cloud(cloud),
            T_world_base=planar_transform(float(x), float(y), float(self.table.headings_rad[row])) if posed else None,
            stamp_ns=int(self.stamps_ns[row]),
            condition=str(self.conditions[row]),
            drive=str(self.drives[row]),
        )

    def holding(self, modalities: Collection[Modality]) -> np.ndarray:
        if "cloud" not in modalities:
            return super().holding(modalities)
        return np.flatnonzero([cloud is not None for cloud in self.table.clouds])


def _drive_numbers(table: FrameTable) -> np.ndarray:
    """Numbers (N,) of the drives; those of one name in two folders are two."""
    names = np.unique(table.drives, return_inverse=True)[1].ravel()
    return np.unique(np.column_stack([table.folders, names]), axis=0, return_inverse=True)[1].ravel()


def _pairs_of(table: FrameTable, folders: list[Path]) -> RowPairs | None:
    """The pairs of the folders as rows of the table; None where no folder has any. VprError for unknown frames."""
    if not any((folder / PAIRS).is_file() for folder in folders):
        return None
    numbers = _drive_numbers(table)
    keys = zip(table.folders.tolist(), table.drives.tolist(), table.numbers.tolist(), strict=True)
    row_of = {key: row for row, key in enumerate(keys)}
    drive_of = {key[:2]: int(numbers[row]) for key, row in row_of.items()}
    rows, T, confirmed, examined = [], [np.zeros((0, 3))], [np.zeros(0, bool)], []
    for number, folder in enumerate(folders):
        for pairs in read_pairs(folder):
            names = (pairs.drive_a, pairs.drive_b)
            for frames in pairs.frames.tolist():
                both = [(number, *one) for one in zip(names, frames, strict=True)]
                absent = next((one for one in both if one not in row_of), None)
                if absent is not None:
                    raise VprError(
                        f"{folder / PAIRS} names frame {absent[2]} of drive '{absent[1]}', which the set has "
                        "not: delete it, or put the frames back"
                    )
                rows.append([row_of[one] for one in both])
            T.append(pairs.T_a_b)
            confirmed.append(pairs.confirmed)
            if pairs.examined and all((number, name) in drive_of for name in names):
                examined.append([drive_of[number, name] for name in names])
    return RowPairs(
        np.array(rows, np.int64).reshape(-1, 2),
        np.concatenate(T),
        np.concatenate(confirmed),
        np.array(examined, np.int64).reshape(-1, 2),
    )
