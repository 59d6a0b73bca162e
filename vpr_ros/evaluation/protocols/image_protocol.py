"""A network on two image folders by a published protocol: which descriptors, which PCA, which distance."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.folders import FolderConfig, ImageDescriber, describe_files, pictures_of_folder
from vpr_ros.evaluation.protocols.image_sets import image_set
from vpr_ros.evaluation.protocols.reduction import (
    MOST_SAMPLES,
    ReducedExtractor,
    Reduction,
    TrainingDescriptors,
    content_keys,
    fit_reduction,
    refuse_overlap,
    sample_files,
)

PAPER = "paper"


@dataclass(frozen=True)
class ImageProtocol:
    """`set_name`: rule of a public set; `paper`: plain PCA scores compared by Euclidean distance (METHODS §1.9)."""

    set_name: str | None = None
    paper: bool = False

    @classmethod
    def named(cls, names: list[str]) -> "ImageProtocol":
        """From the values of --protocol: at most one set, and "paper". VprError for anything else."""
        sets = [name for name in names if name != PAPER]
        if len(sets) > 1:
            raise VprError(f"--protocol names {' and '.join(sets)}: one set at a time, with or without paper.")
        if sets:
            image_set(sets[0])
        return cls(sets[0] if sets else None, PAPER in names)

    def config(self, base: FolderConfig) -> FolderConfig:
        """`base` with the set's rule and the measure of the protocol."""
        if self.set_name:
            base = FolderConfig.of_set(
                self.set_name,
                batch_size=base.batch_size,
                min_grey=base.min_grey,
                drive_mean_frames=base.drive_mean_frames,
            )
        return replace(base, measure="euclidean") if self.paper else base

    def descriptors(self, extractor: Any, reduction: Reduction | None) -> ImageDescriber:
        """What is compared of a student's extractor: as on a robot, or as the papers do, or through a fitted PCA.

        On a robot, and with `reduction` alone, rows are of unit length after the projection; under the paper's protocol
        they are not normalised.
        """
        if reduction is None and not self.paper:
            return extractor
        return ReducedExtractor(
            extractor.name,
            lambda images: extractor.describe_raw(images, project=False),
            reduction,
            projection=extractor.projection,
            renormalise=not self.paper,
        )

    def statement(self, extractor: Any, reduction: Reduction | None) -> str:
        """A sentence on what the figures of `extractor` compare."""
        own = extractor.projection
        if reduction is not None:
            reduced = str(reduction)
        elif own is not None:
            reduced = f"the checkpoint's {own}"
        else:
            reduced = "no projection"
        how = "as it comes, Euclidean distance" if self.paper else "rows of unit length, cosine"
        return f"Descriptors: {reduced}; {how}."


def fit_on_folder(
    extractor: Any,
    folder: str | Path,
    dim: int,
    whiten: float = 0.0,
    *,
    evaluated: tuple[str | Path, ...] = (),
    most: int = MOST_SAMPLES,
    seed: int = 0,
    batch_size: int = 16,
    progress: Callable[[int], None] | None = None,
) -> Reduction:
    """PCA of `extractor`'s raw descriptors on at most `most` images of a folder of training images.

    VprError if the folder is, holds or lies in one of the `evaluated` folders, shares images with them, or has fewer
    than four images per dimension.
    """
    training = Path(folder).resolve()
    for other in evaluated:
        tested = Path(other).resolve()
        if training == tested or training in tested.parents or tested in training.parents:
            raise VprError(
                f"the projection cannot be fitted on {folder}: it overlaps the evaluated folder {other}, and test "
                "images are not to be learned from."
            )
    files = sample_files(pictures_of_folder(folder), most, seed)
    keys = content_keys(files)
    for other in evaluated:
        refuse_overlap(str(folder), keys, content_keys(pictures_of_folder(other)), str(other))
    raw = ReducedExtractor(extractor.name, lambda images: extractor.describe_raw(images, project=False))
    described = describe_files(raw, files, batch_size, progress)
    return fit_reduction(
        TrainingDescriptors(str(folder), described.descriptors, tuple(keys[r] for r in described.rows)), dim, whiten
    )
