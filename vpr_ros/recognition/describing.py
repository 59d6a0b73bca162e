"""Images to descriptors for mapping and localisation: whole batches, and by the model that the map was made with."""

from collections.abc import Iterator, Sequence

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.observation import Observation
from vpr_ros.place_map import Describer, PlaceMap


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
