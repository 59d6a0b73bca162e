"""What is looked for between two drives, and when it is believed."""

from dataclasses import dataclass, field

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.lidar import PolarGridConfig
from vpr_ros.verification import VerificationConfig


@dataclass(frozen=True)
class CrossingConfig:
    """The defaults suit streets."""

    spacing_m: float = 2.0  # between the frames of a drive that are compared
    every: int = 2  # of them is registered without a guess
    candidates: int = 3  # places of the first drive for each such frame
    beside_m: tuple[float, ...] = (0.0, -2.0, 2.0)  # to the left: from where a frame of drive 2 is compared as well
    sequence_m: float = 20.0  # before and behind a frame, over which similarities are averaged
    elsewhere_m: float = 12.0  # from a place on another place begins, which must look less alike
    window_m: float = 40.0  # along both drives, within which registrations are compared with one another
    tolerance_m: float = 0.5  # by which two registrations may differ where they touch
    drift: float = 0.04  # metres a metre between them, of both odometries together
    tolerance_rad: float = np.radians(3.0)
    drift_rad: float = np.radians(0.5)  # a square root of a metre
    least_length_m: float = 30.0  # of drive 2 over which registrations say the same
    least_margin: float = -0.05  # of similarity against any place elsewhere: a pair below it is not registered
    least_evidence_m: float = 4.0  # that margin, integrated along drive 2 over the registrations that say the same
    least_support: float = 0.5  # share of the registrations nearby that say the same as one that is kept
    grow_m: float = 10.0  # beyond a confirmed registration another one is tried; also how far apart two frames may be
    grid: PolarGridConfig = field(default_factory=PolarGridConfig)
    registration: VerificationConfig = (
        field(  # kiss-matcher is not everywhere, and the same drives give the same result
            default_factory=lambda: VerificationConfig(normal_points=20, min_agreement=0.05, kiss_matcher=False)
        )
    )

    def __post_init__(self) -> None:
        if not (self.spacing_m > 0 and self.every >= 1 and self.candidates >= 1):
            raise VprError(
                f"frames every {self.spacing_m:g} m, every {self.every}. of them and {self.candidates} candidates for "
                "each cannot be compared: all must be positive"
            )
