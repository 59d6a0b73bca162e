"""How far apart samples are, as far as it is known: by positions in one frame, by pairs across frames.

Positions of two drives by odometry say nothing of one another, and a sample may have none at all. So a distance is
known as a least and a most, which are equal where both samples stand in one map.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from vpr_ros.geometry import rows_within, turn_between
from vpr_ros.training.data.links import DRIFT, Links, RowPairs, ways_of


@dataclass(frozen=True)
class Gaps:
    """Distances of pairs of samples: from `least_m` to `most_m`, 0 and infinity where nothing is known.

    Both are infinite for samples of different areas. `turn_rad` is between the headings, NaN where it is not known;
    None for sets without headings.
    """

    least_m: np.ndarray
    most_m: np.ndarray
    turn_rad: np.ndarray | None

    def near(self, radius_m: float, heading_rad: float | None = None) -> np.ndarray:
        """Which pairs certainly lie within `radius_m` and, where the set has headings, are turned by at most
        `heading_rad` (None: by anything)."""
        near = self.most_m <= radius_m
        return near if self.turn_rad is None or heading_rad is None else near & (self.turn_rad <= heading_rad)

    def unknown(self, radius_m: float) -> np.ndarray:
        """Which pairs may or may not lie within `radius_m`."""
        return (self.least_m <= radius_m) & (self.most_m > radius_m)


@dataclass(frozen=True)
class Nearness:
    """Where samples stand; `gaps` says of any two rows what is known of their distance.

    A sample without a position has a frame of its own, in which it stands at the origin.
    """

    areas: np.ndarray  # (N,) int
    frames: np.ndarray  # (N,) int, of the positions
    poses: np.ndarray  # (N, 3) x and y in metres, heading in radians
    has_headings: bool
    ways_m: np.ndarray  # (N,) along the drive, of positions by odometry, which drift; 0 in maps
    links: Links | None = None  # what pairs say across frames

    @classmethod
    def of_maps(cls, positions_m: np.ndarray, headings_rad: np.ndarray | None, areas: np.ndarray) -> "Nearness":
        """Samples whose positions (N, 2) share one frame in each area (N,); headings (N,) or None."""
        _, codes = np.unique(np.asarray(areas), return_inverse=True)
        return cls(codes, codes, _poses(positions_m, headings_rad), headings_rad is not None, np.zeros(len(codes)))

    @classmethod
    def of_drives(
        cls,
        positions_m: np.ndarray,
        headings_rad: np.ndarray,
        areas: np.ndarray,
        pose_frames: np.ndarray,
        drives: np.ndarray,
        pairs: RowPairs | None = None,
    ) -> "Nearness":
        """Samples of drives, rows of a drive in its order, whose positions are in the frames (N,) of these names.

        A frame is a map where it has the area's name, else the drive's own odometry; "" is none: NaN positions.
        `drives` (N,) int tells drives apart; `pairs` is what is known across them.
        """
        areas, named = np.asarray(areas), np.asarray(pose_frames)
        posed = named != ""
        names, codes = np.unique(np.concatenate([areas, named[posed]]), return_inverse=True)
        frames = np.zeros(len(areas), np.int64)
        frames[posed] = codes[len(areas) :]
        frames[~posed] = len(names) + np.arange(int((~posed).sum()))
        poses = _poses(np.where(posed[:, None], positions_m, 0.0), np.where(posed, headings_rad, 0.0))
        ways = ways_of(poses[:, :2], drives, posed)
        by_odometry = posed & (named != areas)
        links = None if pairs is None else Links.of_pairs(pairs, frames, poses, ways, drives, posed, by_odometry)
        return cls(codes[: len(areas)], frames, poses, True, np.where(by_odometry, ways, 0.0), links)

    def __len__(self) -> int:
        return len(self.areas)

    def select(self, rows: np.ndarray) -> "Nearness":
        """The samples of these rows; what is known of them through others stays."""
        links = None if self.links is None else self.links.select(rows)
        columns = (self.areas[rows], self.frames[rows], self.poses[rows])
        return replace(
            self, areas=columns[0], frames=columns[1], poses=columns[2], ways_m=self.ways_m[rows], links=links
        )

    def gaps(self, a: ArrayLike, b: ArrayLike) -> Gaps:
        """Between rows `a` and `b`, of shapes that broadcast."""
        a, b = np.broadcast_arrays(np.asarray(a), np.asarray(b))
        gap = self.poses[a, :2] - self.poses[b, :2]
        distance = np.hypot(gap[..., 0], gap[..., 1])
        drift = DRIFT * np.abs(self.ways_m[a] - self.ways_m[b])
        together, apart = self.frames[a] == self.frames[b], self.areas[a] != self.areas[b]
        # of one map the difference is the distance itself, to the last bit
        least = np.where(together, np.maximum(distance - drift, 0.0), 0.0)
        most = np.where(together, distance + drift, np.inf)
        turn = None
        if self.has_headings:
            turn = np.where(together, turn_between(self.poses[a, 2], self.poses[b, 2]), np.nan)
        across = ~together & ~apart
        if self.links is not None and across.any():
            found = self.links.between(a[across], b[across], self.poses, self.frames)
            least[across], most[across] = found[0], found[1]
            if turn is not None:
                turn[across] = found[2]
        least[apart] = most[apart] = np.inf
        if turn is not None:
            turn[apart] = np.nan
        return Gaps(least, most, turn)

    def among(self, rows: Sequence[int] | np.ndarray) -> Gaps:
        """Between all pairs of the rows (B,): gaps of shape (B, B)."""
        rows = np.asarray(rows)
        return self.gaps(rows[:, None], rows[None])

    def truth(
        self, radius_m: float, heading_rad: float | None = None
    ) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Function of rows (Q,) and (K,): which show one place, and of which that is not known, both (Q, K) bool."""

        def answer(queries: np.ndarray, database: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            gaps = self.gaps(queries[:, None], database[None])
            return gaps.near(radius_m, heading_rad), gaps.unknown(radius_m)

        return answer

    def cells(self, side_m: float) -> np.ndarray:
        """Squares of this side that the samples stand in, as rows (N, 3) of numbers: equal ones are one square.

        Samples without a position are in squares of their own.
        """
        return np.column_stack([self.frames, np.floor(self.poses[:, :2] / side_m).astype(np.int64)])

    def neighbours(self, radius_m: float) -> list[np.ndarray]:
        """For every row the other rows that certainly lie within `radius_m` (inclusive), ascending."""
        order = np.argsort(self.frames, kind="stable")
        starts = np.flatnonzero(np.diff(self.frames[order], prepend=-1))
        found: list[np.ndarray] = [np.zeros(0, np.int64)] * len(self)
        for members in np.split(order, starts[1:]):
            if len(members) < 2:
                continue
            xy = self.poses[members, :2]
            for row, near in zip(members, rows_within(xy, xy, radius_m), strict=True):
                others = members[near]
                found[row] = others[others != row]
        if self.ways_m.any() or self.links is not None:
            found = [near[self.gaps(row, near).near(radius_m)] for row, near in enumerate(found)]
        if self.links is None:
            return found
        a, b = self.links.candidates(self.poses, self.frames, radius_m)
        close = self.gaps(a, b).near(radius_m) & (a != b)
        across: dict[int, set[int]] = {}
        for one, other in zip(a[close].tolist(), b[close].tolist(), strict=True):
            across.setdefault(one, set()).add(other)
            across.setdefault(other, set()).add(one)
        for row, others in across.items():
            found[row] = np.union1d(found[row], np.array(sorted(others), np.int64))
        return found


def _poses(positions_m: np.ndarray, headings_rad: np.ndarray | None) -> np.ndarray:
    positions = np.asarray(positions_m, dtype=np.float64)
    headings = np.zeros(len(positions)) if headings_rad is None else np.asarray(headings_rad, dtype=np.float64)
    return np.column_stack([positions, headings])
