"""Any sample set as a torch Dataset of augmented tuples, and their batches as inputs of a teacher."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from vpr_ros.student.preprocessing import resize
from vpr_ros.training.data.augment.clouds import CloudAugmentConfig, augment_batch, augment_cloud
from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig, augment_image
from vpr_ros.training.data.sample import Modality, Sample, SampleSet
from vpr_ros.training.data.sampling.pairs import Key


class TeacherTuples(Dataset):
    """Samples by key (row, seed, batch seed): read, reduced to the teacher's inputs, and augmented.

    The same key gives the same tuple. `modalities`: "image", "cloud" or both; others are dropped. `cache` keeps
    every sample as read in memory; with `image_size` (height, width) pictures are resized after reading, which makes
    their augmentation cheaper.
    """

    def __init__(
        self,
        samples: SampleSet,
        modalities: Sequence[Modality],
        cloud: CloudAugmentConfig,
        image: ImageAugmentConfig,
        *,
        cache: bool = False,
        image_size: tuple[int, int] | None = None,
    ):
        self.image_size = image_size
        self.samples, self.cloud, self.image = samples.select(modalities=modalities), cloud, image
        self._cache: dict[int, Sample] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, row: int) -> Sample:
        """Sample `row` as stored, without sensors that the teacher does not use."""
        if self._cache is not None and row in self._cache:
            return self._cache[row]
        sample = self.samples[row]
        if sample.image is not None and self.image_size is not None:
            sample = replace(sample, image=resize(sample.image, self.image_size))
        if self._cache is not None:
            self._cache[row] = sample
        return sample

    def __getitem__(self, key: Key) -> tuple[int, int, Sample]:
        row, seed, batch_seed = key
        sample = self.read(row)
        if sample.cloud is not None:
            sample = replace(sample, cloud=augment_cloud(sample.cloud, self.cloud, np.random.default_rng([seed, 0])))
        if sample.image is not None:
            sample = replace(sample, image=augment_image(sample.image, self.image, np.random.default_rng([seed, 1])))
        return row, batch_seed, sample


@dataclass(frozen=True)
class TupleBatches:
    """The DataLoader's collate function: the augmentation that a batch shares, then the teacher's preprocessing.

    `collate(samples, rng)` gives the keyword arguments of the forward.
    """

    collate: Callable[[Sequence[Sample], np.random.Generator], dict[str, Any]]
    cloud: CloudAugmentConfig

    def __call__(self, items: Sequence[tuple[int, int, Sample]]) -> dict[str, Any]:
        rows, batch_seeds, samples = zip(*items, strict=True)
        rng = np.random.default_rng(batch_seeds[0])
        if samples[0].cloud is not None:
            turned = augment_batch([sample.cloud for sample in samples], self.cloud, rng)
            samples = [replace(sample, cloud=cloud) for sample, cloud in zip(samples, turned, strict=True)]
        return {"inputs": self.collate(samples, rng), "rows": torch.tensor(rows)}
