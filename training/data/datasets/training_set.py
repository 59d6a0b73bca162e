"""Training-set folders (rendered, recorded or converted) as a sample set."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from vpr_ros.geometry import planar_transform
from vpr_ros.training.data.sample import METRES, Modality, Sample, SampleSet
from vpr_ros.training.data.sensor_files import read_npy_cloud, read_rgb
from vpr_ros.training_set.reader import read_frame_table


class TrainingSetSamples(SampleSet):
    """The frames of one or several training-set folders; their cities are the areas.

    Clouds are in metres in the base frame, as recorded, converted and rendered sets store them. The name defaults to
    the folders' names. Raises VprError for a folder of another layout.
    """

    cloud_unit = METRES

    def __init__(self, *folders: str | Path, name: str = ""):
        self.name = name or "+".join(Path(folder).name for folder in folders)
        self.table = table = read_frame_table(*folders)
        self.positions_m, self.headings_rad = table.positions_m, table.headings_rad
        self.areas, self.drives = table.cities.astype(str), table.drives.astype(str)
        self.conditions, self.stamps_ns = table.conditions.astype(str), table.stamps_ns

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        x, y = self.positions_m[row]
        cloud = self.table.clouds[row] if "cloud" in modalities else None
        return Sample(
            image=read_rgb(self.table.images[row]) if "image" in modalities else None,
            cloud=None if cloud is None else read_npy_cloud(cloud),
            T_world_base=planar_transform(float(x), float(y), float(self.table.headings_rad[row])),
            stamp_ns=int(self.stamps_ns[row]),
            condition=str(self.conditions[row]),
            drive=str(self.drives[row]),
        )

    def holding(self, modalities: Collection[Modality]) -> np.ndarray:
        if "cloud" not in modalities:
            return super().holding(modalities)
        return np.flatnonzero([cloud is not None for cloud in self.table.clouds])
