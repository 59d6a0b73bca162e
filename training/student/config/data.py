"""Settings of a student's data: sets, batches, and the augmentation of pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vpr_ros.training.common.rules import Rule
from vpr_ros.training.data.augment.images import AugmentConfig
from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig
from vpr_ros.training.data.augment.variation import RandAugmentConfig, Variation

Batches = Literal["places", "pairs", "visits", "unlabelled"]
Layout = Literal["training-set", "gsv-cities"]


@dataclass(frozen=True)
class DataConfig:
    """The sets, and the batches.

    `batches`: `places` samples places by position and heading; `pairs` samples pairs by position (DistilVPR); `visits`
    samples numbered places (D2-VPR, CricaVPR); `unlabelled` groups of frames that the teacher finds alike, as many and
    as large as places would be. Of the other batches `unlabelled_share` is drawn like that.
    """

    train: tuple[str, ...] = ()  # training-set folders (`vpr_ros render`, `vpr_ros convert`), or GSV-Cities' root
    validation: tuple[str, ...] = ()  # training-set folders of other cities: calibration, the curve; never test cities
    layout: Layout = "training-set"  # of the folders in `train`
    batches: Batches = "places"
    places_per_batch: int = 24
    images_per_place: int = 4
    cities_per_batch: int = 2  # for `pairs` 0 means all
    unlabelled_share: float = 0.0  # of each batch of `places`, `pairs` or `visits`
    batch_size: int = 128  # of `pairs`
    redraw: bool = True  # `visits`: a new order of places in every epoch
    positive_m: float = 3.0
    negative_m: float = 15.0
    image_sizes: tuple[int, ...] = ()  # sides in pixels over equal parts of the run; empty: the student's own size
    cache: bool = False  # keep the decoded images in memory

    @property
    def nominated(self) -> bool:
        """Whether the teacher nominates frames for the batches."""
        return self.batches == "unlabelled" or self.unlabelled_share > 0

    def rules(self, *, folders: bool = True) -> list[Rule]:
        """The conditions on the settings; without `folders`, samples are passed in Python."""
        train, validation = ({Path(one).resolve() for one in of} for of in (self.train, self.validation))
        return [
            (bool(self.train) or not folders, "train: name at least one training-set folder"),
            (not train & validation, "a folder is in train and in validation: validate on other cities"),
            (
                self.images_per_place >= 2,
                "images_per_place must be 2 or more: a place with one image has no positive pair",
            ),
            (self.places_per_batch >= 2, "places_per_batch must be 2 or more: one place has no negative pair"),
            (self.batch_size >= 4, "batch_size must be 4 or more: two pairs"),
            (
                self.cities_per_batch >= (self.batches != "pairs" or self.unlabelled_share > 0),
                "cities_per_batch must be 1 or more; 0 is for pairs",
            ),
            (
                0 <= self.unlabelled_share < 1,
                "unlabelled_share must lie between 0 and 1; for 1 say batches: unlabelled",
            ),
            (
                self.batches != "unlabelled" or not self.unlabelled_share,
                "unlabelled_share is for batches: places, pairs and visits; those of unlabelled are so altogether",
            ),
            (self.positive_m > 0, "positive_m must be above 0"),
            (self.negative_m > self.positive_m, "negative_m must exceed positive_m: no pair can be both"),
            (
                self.layout != "gsv-cities" or self.batches == "visits",
                "layout gsv-cities needs batches: visits, since its places are numbers and not poses",
            ),
            (
                all(side > 0 and side % 14 == 0 for side in self.image_sizes),
                "image_sizes must divide by 14, the patch size",
            ),
        ]


@dataclass(frozen=True)
class AugmentationConfig:
    """The variation of pictures: `images`, or a published one in its place."""

    images: AugmentConfig = field(default_factory=AugmentConfig)
    jitter: ImageAugmentConfig | None = None  # in place of `images`: MinkLoc++'s and DistilVPR's variation
    rand_augment: RandAugmentConfig | None = None  # in place of `images`: D2-VPR's and CricaVPR's
    ramp: tuple[float, float] = (0.1, 1.0)  # strength at the start and from `ramp_until` on
    ramp_until: float = 0.7  # fraction of the run

    @property
    def variation(self) -> Variation:
        """The variation that is set."""
        return self.jitter or self.rand_augment or self.images

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        other = self.jitter or self.rand_augment
        return [
            (self.jitter is None or self.rand_augment is None, "name one of jitter and rand_augment, not both"),
            (
                other is None or self.images == AugmentConfig(),
                "jitter and rand_augment stand in place of augmentation: images",
            ),
        ]
