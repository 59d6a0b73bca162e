"""The model that makes descriptors, as a map and recognition need it: what it is, and whole batches described by it."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.observation import Observation
from vpr_ros.place_map.store import PlaceMap


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


def described(
    extractor: Describer, observations: Sequence[Observation]
) -> Iterator[tuple[Observation, np.ndarray | FrameError]]:
    """Observations with their descriptors (dim,), or with the FrameError of an image that cannot be described."""
    try:
        descriptors: Sequence[np.ndarray | FrameError] = list(extractor.describe([o.image for o in observations]))
    except FrameError as error:
        # One bad image fails the whole batch; described one by one, only the bad one fails.
        alone = len(observations) == 1
        descriptors = [error] if alone else [_describe(extractor, observation) for observation in observations]
    yield from zip(observations, descriptors, strict=True)


def require_same_model(extractor: Describer, place_map: PlaceMap) -> None:
    """VprError where the map was made by other weights, projection or preprocessing."""
    if extractor.fingerprint != place_map.fingerprint or extractor.dim != place_map.dim:
        raise VprError(
            f"map {place_map.path} was made with model {place_map.fingerprint[:12]} ({place_map.dim} numbers), "
            f"not with {extractor.fingerprint[:12]} ({extractor.dim}): use that checkpoint or run `vpr_ros redescribe`"
        )


def _describe(extractor: Describer, observation: Observation) -> np.ndarray | FrameError:
    try:
        return extractor.describe([observation.image])[0]
    except FrameError as error:
        return error
