"""What a pose graph is made of: how one pose stands in another, and how surely."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

EdgeKind = Literal["odometry", "place", "metric"]


@dataclass(frozen=True)
class Edge:
    """Vertex `second` as `first` sees it: T (4, 4) and the covariance (6, 6) x y z rotX rotY rotZ in the axes of
    `second`.

    "odometry" is a step of a drive, "metric" a measured pose, "place" says no more than that both are at one place.
    """

    first: int
    second: int
    T: np.ndarray
    covariance: np.ndarray
    kind: EdgeKind


def seen_from_second(T_first_second: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """A covariance (6, 6) of T (4, 4) that is given in the axes of the first, as a registration has it, in those of the
    second."""
    turn = np.kron(np.eye(2), T_first_second[:3, :3].T)
    return turn @ covariance @ turn.T
