"""Augmented frames of any sample set for a student, and the same frames for a teacher of the same batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from vpr_ros.errors import VprError
from vpr_ros.student import IMAGENET_MEAN, IMAGENET_STD, normalise, resize
from vpr_ros.training.data.augment.clouds import CloudAugmentConfig, augment_batch, augment_cloud
from vpr_ros.training.data.augment.variation import Variation, vary
from vpr_ros.training.data.sample import Modality, Sample, SampleSet
from vpr_ros.training.teachers import TeacherInputs, collate

Colours = tuple[tuple[float, float, float], tuple[float, float, float]]  # mean and deviation of RGB in [0, 1]
FrameKey = tuple[int, int, float, int]  # row, seed and strength of the frame's augmentation, seed of the batch's


class TrainingFrames(Dataset):
    """Frames by key: read, augmented and normalised; the same key gives the same frame.

    Keys hold the augmentation's seeds and strength, so that a resumed run has exactly the frames of an uninterrupted
    one. `teacher`: the inputs of an online teacher, which gets the same augmented picture, and a cloud augmented by
    `cloud`; pictures are then augmented at the larger of both sizes. `cache` keeps every sample as read in memory.
    `colours` normalise the student's images.
    """

    def __init__(
        self,
        samples: SampleSet,
        image_size: tuple[int, int],
        config: Variation,
        *,
        teacher: TeacherInputs | None = None,
        cloud: CloudAugmentConfig | None = None,
        cache: bool = False,
        colours: Colours = (IMAGENET_MEAN, IMAGENET_STD),
    ):
        modalities: tuple[Modality, ...] = tuple(dict.fromkeys(("image", *(teacher.modalities if teacher else ()))))
        self.samples, self.image_size, self.config = samples.select(modalities=modalities), image_size, config
        self.teacher, self.cloud, self.colours = teacher, cloud or CloudAugmentConfig(), colours
        other = image_size if teacher is None or teacher.image_size is None else teacher.image_size
        self.augmented_size = (max(image_size[0], other[0]), max(image_size[1], other[1]))
        self._cache: dict[int, Sample] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, row: int) -> Sample:
        """Sample `row` as stored, without the sensors that are not used. VprError where it has no image."""
        if self._cache is not None and row in self._cache:
            return self._cache[row]
        sample = self.samples[row]
        if sample.image is None:
            raise VprError(
                f"the sample at {sample.stamp_ns} ns of drive '{sample.drive}' has no image: a student needs one."
            )
        if self._cache is not None:
            self._cache[row] = sample
        return sample

    def fill_cache(self) -> None:
        """With `cache`, read every sample now: worker processes that start later share the memory."""
        if self._cache is not None:
            for row in range(len(self)):
                self.read(row)

    def __getitem__(self, key: tuple[int, int, float] | FrameKey) -> dict[str, Any]:
        row, seed, strength, *batch_seed = key
        sample = self.read(row)
        assert sample.image is not None
        picture = vary(sample.image, self.augmented_size, self.config, strength, np.random.default_rng(seed))
        shrunk = resize(picture, self.image_size)
        item: dict[str, Any] = {"image": normalise(torch.from_numpy(shrunk)[None], *self.colours)[0], "row": row}
        if self.teacher is not None:
            if sample.cloud is not None:
                cloud = augment_cloud(sample.cloud, self.cloud, np.random.default_rng([seed, 0]))
                sample = replace(sample, cloud=cloud)
            item |= {"sample": replace(sample, image=picture), "batch_seed": batch_seed[0] if batch_seed else seed}
        return item


@dataclass(frozen=True)
class FrameBatches:
    """Collate function: images (B, 3, h, w) and rows (B,); under "teacher" the keyword arguments of its forward."""

    teacher: TeacherInputs | None = None
    cloud: CloudAugmentConfig | None = None

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch = default_collate([{"image": item["image"], "row": item["row"]} for item in items])
        if self.teacher is None:
            return batch
        samples, rng = [item["sample"] for item in items], np.random.default_rng(items[0]["batch_seed"])
        clouds = [sample.cloud for sample in samples if sample.cloud is not None]
        if len(clouds) == len(samples):  # for a missing cloud that the teacher needs, `collate` raises a VprError
            turned = augment_batch(clouds, self.cloud or CloudAugmentConfig(), rng)
            samples = [replace(sample, cloud=cloud) for sample, cloud in zip(samples, turned, strict=True)]
        return batch | {"teacher": collate(samples, self.teacher, rng)}
