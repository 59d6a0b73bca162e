"""How well a map answers views whose place is known: what a keyframe of them would add to it."""

import numpy as np

from vpr_ros.geometry import rotation_angle
from vpr_ros.place_map import PlaceIndex, PlaceMap
from vpr_ros.recognition.drive_mean import Centring


class KnownPlaces:
    """A map as it is before a drive begins, asked along the drive, which knows its poses in the map frame.

    Descriptors are compared as a recogniser compares them: keyframes without the mean of their session, the drive's
    without its own, which remembers `memory_frames` frames (0: as they are). What the drive itself adds is not asked:
    a street that is new to the map gets keyframes as closely as any.
    """

    def __init__(self, place_map: PlaceMap, radius_m: float, memory_frames: float, turn_rad: float):
        keyframes = place_map.keyframes()
        self.radius_m, self._turn_rad = radius_m, turn_rad
        self._centring = Centring(memory_frames, place_map.parts, keyframes, place_map.statistics())
        posed = keyframes.select(keyframes.has_pose)  # it is not known where the others are
        self._T = posed.T_map_base
        # Few of a large map are candidates for the best of all other places: every keyframe is compared.
        self._index = PlaceIndex(place_map.dim, exact_rows=len(posed)).build(self._centring.rows(posed))

    def lead(self, T_map_base: np.ndarray, descriptor: np.ndarray) -> float | None:
        """By how much similarity the keyframes of this place lead those of all others, for a view (dim,) at a pose.

        Of the place are keyframes within the place radius, of others those beyond twice of it; where there are none of
        these, nothing can be taken for the place, and the lead is over 0. It is negative where the map would answer
        with another place. None where the map does not know the street: no keyframe within half the place radius
        looks the same way.
        """
        if not len(self._index):
            return None
        apart_m = np.linalg.norm(self._T[:, :3, 3] - T_map_base[:3, 3], axis=1)
        beside = self._T[apart_m <= self.radius_m / 2, :3, :3]
        if not (rotation_angle(beside, T_map_base[:3, :3]) <= self._turn_rad).any():
            return None
        query = self._centring.now(np.asarray(descriptor, dtype=np.float32))
        of_place = self._index.vectors(np.flatnonzero(apart_m <= self.radius_m)) @ query
        others = apart_m > 2 * self.radius_m
        # With one more than all that are no others, the search reaches the best of these.
        similarities, rows = self._index.search(query, min(int((~others).sum()) + 1, len(others)))
        best = similarities[others[rows]]
        return float(of_place.max()) - float(best[0] if len(best) else 0.0)

    def learn(self, descriptor: np.ndarray, content: float) -> None:
        """Takes a view of the drive into its mean, as far as it shows something new."""
        self._centring.learn(np.asarray(descriptor, dtype=np.float32), content)
