"""Which keyframes show the same place looking the same way, and how alike they are."""

from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import pairs_within, rotation_angle
from vpr_ros.place_map.keyframes import Keyframes

MOST_PAIRS = 50_000_000  # of keyframes near each other: about 1 GB
SAMPLED = 2048  # keyframes at most that tell how alike other places are
_CHUNK = 16384


@dataclass(frozen=True)
class Near:
    """Of N keyframes each one's neighbours, itself among them, most alike first.

    Those of row i are `rows[starts[i]:starts[i + 1]]`. Being neighbours is mutual.
    """

    starts: np.ndarray  # (N + 1,) int64
    rows: np.ndarray  # (P,) int64
    similarities: np.ndarray  # (P,) float64

    def __len__(self) -> int:
        return len(self.starts) - 1

    def capped(self, most: np.ndarray) -> "Near":
        """The same, with no similarity to row i above `most[i]` (N,): more than that gains nothing."""
        row = np.repeat(np.arange(len(self)), np.diff(self.starts))
        return replace(self, similarities=np.minimum(self.similarities, most[row]))

    @classmethod
    def of(cls, keyframes: Keyframes, descriptors: np.ndarray, reach: float, turn_rad: float) -> "Near":
        """Neighbours stand at most `reach` apart, turned by at most `turn_rad`; alike are `descriptors` (N, dim).

        `reach` is in metres. Sessions whose keyframes do not all have a pose in the map frame are taken each by itself,
        by odometry, and without that by the number of the keyframe, which `reach` then counts. VprError where more
        pairs than memory holds are near each other, as of a robot that stood for long.
        """
        first, second = _pairs(keyframes, reach, turn_rad)
        alike = np.empty(len(first))
        for start in range(0, len(first), _CHUNK):  # whole rows of both sides take much memory
            some = slice(start, start + _CHUNK)
            a, b = (descriptors[rows[some]].astype(np.float32) for rows in (first, second))
            alike[some] = np.einsum("ij,ij->i", a, b)
        own = np.arange(len(keyframes))
        itself = np.square(descriptors.astype(np.float32)).sum(axis=1)
        one, other = np.r_[own, first, second], np.r_[own, second, first]
        similarities = np.r_[itself, alike, alike]
        order = np.lexsort((other, -similarities, one))
        starts = np.searchsorted(one[order], np.arange(len(keyframes) + 1))
        return cls(starts, other[order], similarities[order])


def answered_at(keyframes: Keyframes, descriptors: np.ndarray, radius: float, lead: float) -> np.ndarray:
    """The similarity (N,) from which on a keyframe's view is answered: `lead` more than to the most alike elsewhere.

    Elsewhere is beyond twice `radius`, in the units of `reach`, among an even sample of the keyframes that are known to
    be there; infinite where none are.
    """
    most = np.full(len(keyframes), np.inf)
    for rows, positions, _ in _frames(keyframes):
        sample = np.unique(np.linspace(0, len(rows) - 1, SAMPLED).astype(np.int64))
        others, at = descriptors[rows[sample]].astype(np.float32), positions[sample]
        for start in range(0, len(rows), _CHUNK // 8):
            some = slice(start, start + _CHUNK // 8)
            apart = np.linalg.norm(positions[some, None] - at[None], axis=-1)
            alike = np.where(apart > 2 * radius, descriptors[rows[some]].astype(np.float32) @ others.T, -np.inf)
            best = alike.max(axis=1)
            most[rows[some]] = np.where(np.isfinite(best), best + lead, np.inf)
    return most


def stretches(keyframes: Keyframes, length: float) -> np.ndarray:
    """Number (N,) of the stretch of its drive that each keyframe lies on, `length` long in the units of `reach`."""
    numbers, before = np.zeros(len(keyframes), dtype=np.int64), 0
    for rows, positions, _ in _frames(keyframes):
        steps = np.r_[0.0, np.linalg.norm(np.diff(positions, axis=0), axis=1)]
        begins = np.diff(keyframes.sessions[rows], prepend=-1) != 0
        travelled = np.cumsum(steps)
        travelled -= np.maximum.accumulate(np.where(begins, travelled, 0.0))
        along = (travelled / length).astype(np.int64)
        numbers[rows] = before + np.cumsum(begins | (np.diff(along, prepend=0) != 0))
        before = int(numbers[rows].max()) + 1
    return numbers


def _pairs(keyframes: Keyframes, reach: float, turn_rad: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows (M,) and rows (M,) of the keyframes that are near each other, each pair once."""
    found, left = [np.empty((0, 2), dtype=np.int64)], MOST_PAIRS
    for rows, positions, R in _frames(keyframes):
        pairs = pairs_within(positions, reach, left)
        if pairs is None:
            raise VprError(
                f"more than {MOST_PAIRS} pairs of keyframes stand within {reach:g} of each other, too many to compare: "
                "thin each drive first with --spacing-m"
            )
        left -= len(pairs)
        if R is not None:
            pairs = pairs[rotation_angle(R[pairs[:, 0]], R[pairs[:, 1]]) <= turn_rad]
        found.append(rows[pairs])
    first, second = np.concatenate(found).T
    return first, second


def _frames(keyframes: Keyframes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Keyframes that can be compared by where they stand: rows (M,), positions (M, D), rotations (M, 3, 3) or None."""
    in_map: list[np.ndarray] = []
    frames: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []
    for session in np.unique(keyframes.sessions):
        rows = np.flatnonzero(keyframes.sessions == session)
        by_odometry = keyframes.T_odom_base[rows]
        if keyframes.has_pose[rows].all():
            in_map.append(rows)
        elif np.isfinite(by_odometry).all():
            frames.append((rows, by_odometry[:, :3, 3], by_odometry[:, :3, :3]))
        else:
            frames.append((rows, np.arange(len(rows), dtype=np.float64)[:, None], None))
    if in_map:
        rows = np.concatenate(in_map)
        poses = keyframes.T_map_base[rows]
        frames.append((rows, poses[:, :3, 3], poses[:, :3, :3]))
    return frames
