"""Local features of a labelled drive and of the map that it is asked against."""

from collections.abc import Sequence

import numpy as np

from vpr_ros.calibration.comparisons import MAX_BYTES, Comparisons, Pictures
from vpr_ros.errors import VprError
from vpr_ros.local_features import LocalExtractor, LocalFeatures, open_local_features, pack, unpack
from vpr_ros.place_map import Keyframes, PlaceMap


class DriveFeatures:
    """Gathers the features of a drive's pictures, packed, since a drive has thousands of them."""

    def __init__(self, extractor: LocalExtractor, place_map: PlaceMap, keyframe_ids: Sequence[int]):
        self._extractor, self._map, self._ids = extractor, place_map, list(keyframe_ids)
        self._packed: list[bytes] = []

    @classmethod
    def against(cls, place_map: PlaceMap, keyframes: Keyframes, device: str) -> "DriveFeatures | None":
        """For drives against a map; None where it has no features, or where such cannot be made here."""
        if place_map.local_features is None:
            return None
        try:
            extractor = open_local_features(place_map.local_features, device)
        except VprError:
            return None
        return None if extractor is None else cls(extractor, place_map, keyframes.ids.tolist())

    def add(self, image: np.ndarray) -> None:
        """The next picture (H, W, 3) of the drive."""
        self._packed.append(pack(self._extractor.extract([image])[0], MAX_BYTES))

    def comparisons(self) -> Comparisons:
        """Of the pictures so far with the keyframes of the map."""
        n = len(self._packed)
        pictures = Pictures(self._extractor.kind, self._read)
        return Comparisons(pictures, np.arange(n), n + np.arange(len(self._ids)))

    def _read(self, number: int) -> LocalFeatures | None:
        n = len(self._packed)
        return unpack(self._packed[number]) if number < n else self._map.features(self._ids[number - n])
