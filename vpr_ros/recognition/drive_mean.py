"""The constant of the drive that asks: a running mean of its descriptors, which its queries are compared without."""

import math
from collections.abc import Mapping

import numpy as np

from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.statistics import PRIOR_FRAMES, DriveStatistics, centred, centred_rows, complete, overall

_CHUNK = 8192


class DriveMean:
    """Mean of what a drive has shown, over about the last `memory_frames` frames of new content.

    mean = (PRIOR_FRAMES * prior + sum of w d) / (PRIOR_FRAMES + sum of w), where the weight w of a descriptor d is how
    much of its frame was new, times exp(-new content since then / memory_frames). The first frames of a drive are thus
    compared without the map's constant, and the drive's own takes over as it shows. The fading memory needs no window
    of descriptors and depends on what was seen, not on how many frames showed it. Light that changes and tunnels fade
    from it within a memory's length.

    A frame is centred by the mean of the frames before it. Were its own descriptor in the mean, the centred vector
    would be shorter and point the same way: q - (S + w q) / (W + w) = W / (W + w) * (q - S / W).
    """

    def __init__(self, prior: np.ndarray, memory_frames: float):
        self.memory_frames = memory_frames
        self.reset(prior)

    def reset(self, prior: np.ndarray) -> None:
        """A new drive begins: `prior` (dim,) is the map's constant."""
        self.prior = prior.astype(np.float32)
        self.frames = 0.0  # of new content, as far as they are remembered
        self._sum = np.zeros(len(prior))
        self.mean = self.prior

    def update(self, descriptor: np.ndarray, content: float) -> None:
        """Takes in a descriptor (dim,) of which the share `content` in [0, 1] is new; a standing robot's counts 0."""
        if content <= 0:
            return
        kept = math.exp(-content / self.memory_frames)
        self._sum = kept * self._sum + content * descriptor
        self.frames = kept * self.frames + content
        mean = (PRIOR_FRAMES * self.prior + self._sum) / (PRIOR_FRAMES + self.frames)
        self.mean = mean.astype(np.float32)

    @property
    def from_prior(self) -> float:
        """How far the drive's constant is from the map's, as a length; descriptors have length 1."""
        return float(np.linalg.norm(self.mean - self.prior))

    def to_dict(self) -> dict[str, float]:
        """What to tell of it: its memory, what it has gathered (frames of new content), its distance to the map's."""
        return {
            "memory_frames": self.memory_frames,
            "frames": round(self.frames, 1),
            "distance_to_map": round(self.from_prior, 4),
        }


def centred_traverses(
    database: np.ndarray, queries: np.ndarray, parts: tuple[int, ...], memory_frames: float
) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors (D, dim) and (Q, dim) as a recogniser compares them: a map of one session, and one drive in order.

    Every query shows something new.
    """
    constant = DriveStatistics.of(database).constant
    drive, asked = DriveMean(constant, memory_frames), np.empty_like(queries)
    for row, query in enumerate(queries):
        asked[row] = centred(query, drive.mean, parts)
        drive.update(query, 1.0)
    return centred(database, constant, parts), asked


class Centring:
    """Descriptors as they are compared: queries less the mean of their drive, keyframes less that of their session.

    `statistics` are those of the keyframes' sessions, as far as they are known. With `memory_frames` 0 descriptors stay
    as they are.

    In slam mode the keyframes of the current drive are compared less their session's mean so far. All of them are
    brought up to date each time they have doubled: else the first ones, from which little was known to take out, would
    be less similar to every query than later ones. The end of the drive does so for good, and then nothing tells the
    map from one that was loaded whole. In an empty map there is no constant to begin with; it grows in as the drive
    goes, for queries and keyframes alike.
    """

    def __init__(
        self,
        memory_frames: float,
        parts: tuple[int, ...],
        keyframes: Keyframes | None,
        statistics: Mapping[int, DriveStatistics],
    ):
        self.parts, self._dim = parts, sum(parts)
        self._statistics: dict[int, DriveStatistics] = {}
        self.drive: DriveMean | None = None
        if memory_frames:
            if keyframes is not None and len(keyframes):
                self._statistics = complete(statistics, keyframes)
            self.drive = DriveMean(self._map_constant(), memory_frames)

    def _map_constant(self) -> np.ndarray:
        return overall(self._statistics, self._dim).constant

    def new_drive(self) -> None:
        """Of the drive to come nothing is known yet: it begins with the map's constant."""
        if self.drive is not None:
            self.drive.reset(self._map_constant())

    def rows(self, keyframes: Keyframes, out: np.ndarray | None = None) -> np.ndarray:
        """Descriptors (N, dim) of keyframes of known sessions; into `out`, where it is given."""
        if self.drive is not None:
            return centred_rows(keyframes, self._statistics, self.parts, out)
        if out is None:
            return np.asarray(keyframes.descriptors)
        for start in range(0, len(keyframes), _CHUNK):
            out[start : start + _CHUNK] = keyframes.descriptors[start : start + _CHUNK]
        return out

    def session(self, session: int, descriptor: np.ndarray) -> np.ndarray:
        """A keyframe's descriptor (dim,) float16, less the mean of its session so far."""
        if self.drive is None:
            return descriptor
        return centred(descriptor, self._statistics[session].constant, self.parts).astype(np.float16)

    def now(self, descriptor: np.ndarray) -> np.ndarray:
        """A descriptor (dim,) of the current drive."""
        return descriptor if self.drive is None else centred(descriptor, self.drive.mean, self.parts)

    def learn(self, descriptor: np.ndarray, content: float) -> None:
        """Takes a query into the drive's mean, as far as it shows something new."""
        if self.drive is not None:
            self.drive.update(descriptor, content)

    def insert(self, session: int, descriptor: np.ndarray, content: float) -> None:
        """Takes a keyframe into its session's mean."""
        if self.drive is not None:
            before = self._statistics.get(session) or DriveStatistics.none(self._dim)
            self._statistics[session] = before.plus(descriptor, content)
