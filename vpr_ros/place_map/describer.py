"""What a map and recognition need of the model that makes descriptors."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Describer(Protocol):
    """Turns images into descriptors, such as `vpr_ros.student.DescriptorExtractor`."""

    @property
    def name(self) -> str: ...

    @property
    def dim(self) -> int:
        """Numbers of a descriptor."""
        ...

    @property
    def parts(self) -> tuple[int, ...]:
        """Lengths of the parts that make up a descriptor, each a kind of evidence of its own; their sum is `dim`."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 hex of weights, projection and preprocessing."""
        ...

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What happens to an image before the network, in plain values."""
        ...

    @property
    def calibration(self) -> dict[str, Any] | None:
        """The calibration that the checkpoint carries, None where it has none."""
        ...

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 RGB -> the picture at the network's input size, which has the same descriptor."""
        ...

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """N images (h, w, 3) uint8 RGB -> (N, dim) unit rows; FrameError for an unusable image."""
        ...
