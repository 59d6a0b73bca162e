"""What a verification says, whichever sensor made it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Method = Literal["camera", "lidar"]
Success = Literal["registered", "posed", "same_scene"]  # by LiDAR; by a camera, with and without the scale
Refusal = Literal[
    "too_few_points",
    "little_agreement",
    "poor_fit",
    "too_far",
    "degenerate",
    "few_matches",
    "other_scene",
    "one_object",
    "contradicted",
]


@dataclass(frozen=True)
class Verified:
    """Whether the geometry agrees with a match, and where the query stands by it.

    `T_keyframe_query` (4, 4) maps points of the query's base frame into the keyframe's; `covariance` (6, 6) is that of
    this pose, ordered x y z rotX rotY rotZ, for a small motion applied in the keyframe's axes at the query's position.
    Both are there where a pose was measured with its scale, and may be used only where `metric`. A camera without depth
    measures none: it gives at most `R_keyframe_query` (3, 3) and the unit vector `direction` (3,) from the keyframe's
    camera to the query's, both in the keyframe's base axes. `agreement` is the share of what was compared that agrees:
    of the query's upright surfaces (LiDAR), of the matched keypoints (camera). `rmse` is what is left between them in
    the method's own unit: metres of LiDAR points, pixels of keypoints; infinite where nothing was measured.
    """

    accepted: bool
    reason: Success | Refusal
    method: Method
    T_keyframe_query: np.ndarray | None = None
    covariance: np.ndarray | None = None
    agreement: float = 0.0
    rmse: float = float("inf")
    places: np.ndarray | None = None  # (M, 4) of keypoints that agree: x y in the query, x y in the keyframe, 0 to 1
    R_keyframe_query: np.ndarray | None = None
    direction: np.ndarray | None = None

    @property
    def metric(self) -> bool:
        """Whether a pose was measured and may be used."""
        return self.accepted and self.T_keyframe_query is not None and self.covariance is not None
