"""The model that makes descriptors, as a map and recognition need it: what it is, and whole batches described by it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.observation import Observation
from vpr_ros.place_map.store import PlaceMap

Described: TypeAlias = tuple[Observation, np.ndarray | FrameError]  # with its descriptor (dim,), or why it has none


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


def input_size_of(extractor: Describer) -> tuple[int, int] | None:
    """(height, width) of the network's input: what pictures for it need; None where its preprocessing names none."""
    given = extractor.preprocessing
    return (given["height"], given["width"]) if {"height", "width"} <= given.keys() else None


def prepared(extractor: Describer, observation: Observation) -> Observation:
    """With the network's input, made of the image once; as it is where that is no picture that can be described."""
    if observation.network_input is not None:
        return observation
    try:
        return replace(observation, network_input=extractor.prepare(observation.image))
    except FrameError:
        return observation


def described(extractor: Describer, observations: Sequence[Observation]) -> Iterator[Described]:
    """Observations, `prepared`, with their descriptors (dim,), or with the FrameError of an image that cannot be
    described."""
    observations = [prepared(extractor, observation) for observation in observations]
    try:
        descriptors: Sequence[np.ndarray | FrameError] = list(extractor.describe([_picture(o) for o in observations]))
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
        return extractor.describe([_picture(observation)])[0]
    except FrameError as error:
        return error


def _picture(observation: Observation) -> np.ndarray:
    return observation.image if observation.network_input is None else observation.network_input
