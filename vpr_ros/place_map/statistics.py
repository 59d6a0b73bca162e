"""What is constant in the descriptors of a drive, and how it is taken out of them.

A season, a light or a camera adds about the same vector to every descriptor of a drive. Two drives are compared best
without it: each descriptor less its own drive's mean (Schubert, Neubert and Protzel, "Unsupervised Learning Methods for
Visual Place Recognition in Discretely and Continuously Changing Environments", ICRA 2020).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from vpr_ros.place_map.descriptors import StoredDescriptors
from vpr_ros.place_map.keyframes import Keyframes

# The mean of few frames is mostly what these frames show: it is believed as if so many more had shown no constant.
PRIOR_FRAMES = 10.0
_CHUNK = 8192
_IN_CACHE = 1024  # rows whose float32 copies stay in a processor's cache: twice as fast


@dataclass(frozen=True)
class DriveStatistics:
    """Sum of a drive's descriptors. Frames that show what earlier ones have shown count less than one, down to 0.

    Whole frames of float16 numbers add up in float64 without any rounding, so that the order does not matter.
    """

    total: np.ndarray  # (dim,) float64
    frames: float  # of new content

    @classmethod
    def none(cls, dim: int) -> "DriveStatistics":
        """Before the first frame."""
        return cls(np.zeros(dim), 0.0)

    @classmethod
    def of(cls, descriptors: "np.ndarray | StoredDescriptors") -> "DriveStatistics":
        """Of descriptors (N, dim), each with new content."""
        total = np.zeros(descriptors.shape[1])
        for start in range(0, len(descriptors), _CHUNK):
            total += descriptors[start : start + _CHUNK].sum(axis=0, dtype=np.float64)
        return cls(total, float(len(descriptors)))

    def plus(self, descriptor: np.ndarray, content: float) -> "DriveStatistics":
        """With one more frame, of which the share `content` in [0, 1] is new."""
        return DriveStatistics(self.total + content * np.asarray(descriptor, dtype=np.float64), self.frames + content)

    @property
    def mean(self) -> np.ndarray:
        """(dim,) float32; zero before the first frame."""
        return (self.total / max(self.frames, 1e-9)).astype(np.float32)

    @property
    def constant(self) -> np.ndarray:
        """What is taken out of the drive's descriptors (dim,) float32: the mean, less the fewer frames it is of."""
        return (self.total / (self.frames + PRIOR_FRAMES)).astype(np.float32)


def overall(statistics: Mapping[int, DriveStatistics], dim: int) -> DriveStatistics:
    """Of all drives together."""
    total = sum((one.total for one in statistics.values()), np.zeros(dim))
    return DriveStatistics(total, sum(one.frames for one in statistics.values()))


def complete(known: Mapping[int, DriveStatistics], keyframes: Keyframes) -> dict[int, DriveStatistics]:
    """`known` for the sessions of the keyframes, and those that are missing computed from the keyframes themselves."""
    sessions, dim = np.unique(keyframes.sessions).tolist(), keyframes.descriptors.shape[1]
    found = {s: known[s] for s in sessions if s in known and known[s].total.shape == (dim,)}
    return found | {
        s: DriveStatistics.of(keyframes.descriptors[keyframes.sessions == s]) for s in sessions if s not in found
    }


def centred(descriptors: np.ndarray, constant: np.ndarray, parts: tuple[int, ...]) -> np.ndarray:
    """Descriptors (..., dim) less a constant (dim,), float32; each part keeps the length that it had."""
    raw = np.asarray(descriptors, dtype=np.float32)
    out = raw - constant
    for part in slices(parts):
        length = np.linalg.norm(raw[..., part], axis=-1, keepdims=True)
        rest = np.linalg.norm(out[..., part], axis=-1, keepdims=True)
        told = rest > 1e-4 * length  # else it is the constant itself, and its direction would be rounding noise
        out[..., part] = np.where(told, out[..., part] * (length / np.where(told, rest, 1.0)), raw[..., part])
    return out


def centred_rows(
    keyframes: Keyframes,
    statistics: Mapping[int, DriveStatistics],
    parts: tuple[int, ...],
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Descriptors (N, dim) float16 of keyframes, each less its session's constant; into `out`, where it is given."""
    out = np.empty(keyframes.descriptors.shape, dtype=np.float16) if out is None else out
    for session, one in statistics.items():
        rows = np.flatnonzero(keyframes.sessions == session)
        for start in range(0, len(rows), _IN_CACHE):
            some = rows[start : start + _IN_CACHE]
            out[some] = centred(keyframes.descriptors[some], one.constant, parts)
    return out


def slices(parts: tuple[int, ...]) -> Iterator[slice]:
    """Where each part lies in a descriptor."""
    start = 0
    for length in parts:
        yield slice(start, start + length)
        start += length
