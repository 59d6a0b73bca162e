"""What pairs of frames say of samples whose positions share no frame.

A confirmed pair places one drive's frame in the coordinate frame of the other one's position, and odometry places the
frames beside it there, as far as it hardly drifts. Where nothing is placed, drives that were examined still tell what
is not one place: frames of which no pair, not even a doubtful one, was found.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vpr_ros.geometry import rows_within

DRIFT = 0.02  # of odometry, as a share of the way between two samples: what wheels or a LiDAR stay below
REACH_M = 25.0  # of a pair along the drive: odometry drifts by half a metre until there
CELL_M, CELL_FRAMES = 25.0, 25  # of the drive around a pair: what may be its place, too, in metres or without positions


@dataclass(frozen=True)
class RowPairs:
    """Pairs of rows of a sample set, and which drives were examined for them.

    `rows` (M, 2); `T_a_b` (M, 3) x, y in metres and yaw of b in a, NaN where it is not known; `confirmed` (M,) bool;
    `examined` (K, 2) numbers of drives.
    """

    rows: np.ndarray
    T_a_b: np.ndarray
    confirmed: np.ndarray
    examined: np.ndarray


@dataclass(frozen=True)
class Links:
    """What pairs say of N samples; frames, poses and ways are `Nearness`'s.

    Sample `rows[s]` stands at `poses[s]` of the frame `frames[s]`, which its own position is not in: known from a pair
    whose one end is `steps_m[s]` by odometry from the sample, and whose other end lies at `ends_m[s]` of the way of
    the frame's drive.
    """

    rows: np.ndarray  # (S,) ascending; of one sample the frames ascend, each once
    frames: np.ndarray  # (S,)
    poses: np.ndarray  # (S, 3) x and y in metres, heading in radians
    steps_m: np.ndarray  # (S,)
    ends_m: np.ndarray  # (S,)
    drifting: np.ndarray  # (F,) bool by frame: whether positions in it are by odometry
    ways_m: np.ndarray  # (N,) along the drives
    drives: np.ndarray  # (N,) int
    cells: np.ndarray  # (N,) int, stretches of the drives
    examined: np.ndarray  # ascending keys of pairs of drives, in both orders
    possible: np.ndarray  # ascending keys of pairs of cells that may be one place, in both orders
    counts: tuple[int, int]  # of drives and of cells, for the keys

    @classmethod
    def of_pairs(
        cls,
        pairs: RowPairs,
        frames: np.ndarray,
        poses: np.ndarray,
        ways_m: np.ndarray,
        drives: np.ndarray,
        posed: np.ndarray,
        by_odometry: np.ndarray,
    ) -> "Links":
        """Of all samples: frame (N,), pose (N, 3), way, drive, whether there is a position and whether it drifts."""
        drifting = np.zeros(int(frames.max(initial=-1)) + 1, bool)
        drifting[frames[by_odometry]] = True
        known = pairs.rows[pairs.confirmed]
        T = pairs.T_a_b[pairs.confirmed]
        # each pair places either end in the frame of the other one
        ends = np.concatenate([known, known[:, ::-1]])
        beyond = np.concatenate([_compose(poses[known[:, 1]], _invert(T)), _compose(poses[known[:, 0]], T)])
        placed = _placed(ends, beyond, frames, poses, ways_m, drives, drifting)
        cells, count = _cells(ways_m, drives, posed)
        drive_count = int(drives.max(initial=-1)) + 1
        listed = cells[pairs.rows]
        steps = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
        around = (listed[:, None] + steps).reshape(-1, 2)
        return cls(
            *placed,
            drifting=drifting,
            ways_m=ways_m,
            drives=drives,
            cells=cells,
            examined=_keys(pairs.examined, drive_count),
            possible=_keys(around, count),
            counts=(drive_count, count),
        )

    def select(self, rows: np.ndarray) -> "Links":
        """Of the samples of these rows, in that order."""
        begin, end = np.searchsorted(self.rows, rows), np.searchsorted(self.rows, rows, side="right")
        counts = end - begin
        kept = np.repeat(begin - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return replace(
            self,
            rows=np.repeat(np.arange(len(rows)), counts),
            frames=self.frames[kept],
            poses=self.poses[kept],
            steps_m=self.steps_m[kept],
            ends_m=self.ends_m[kept],
            ways_m=self.ways_m[rows],
            drives=self.drives[rows],
            cells=self.cells[rows],
        )

    def between(
        self, a: np.ndarray, b: np.ndarray, poses: np.ndarray, frames: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows `a` and `b` (K,) of one area whose positions are in different frames -> least and greatest distance in
        metres (0 and infinity: unknown; both infinite: not one place), and the turn, NaN where it is not known."""
        least, most = np.zeros(len(a)), np.full(len(a), np.inf)
        turn = np.full(len(a), np.nan)
        slack = np.full(len(a), np.inf)
        for one, other in ((a, b), (b, a)):
            at = self._find(one, frames[other])
            here = np.flatnonzero(at >= 0)
            at, one, other = at[here], one[here], other[here]
            gap = self.poses[at, :2] - poses[other, :2]
            distance = np.hypot(gap[:, 0], gap[:, 1])
            drift = DRIFT * (
                self.steps_m[at] + self.drifting[frames[other]] * np.abs(self.ways_m[other] - self.ends_m[at])
            )
            better = drift < slack[here]
            here, distance, drift = here[better], distance[better], drift[better]
            slack[here] = drift
            least[here], most[here] = np.maximum(distance - drift, 0.0), distance + drift
            bend = self.poses[at[better], 2] - poses[other[better], 2]
            turn[here] = np.abs((bend + np.pi) % (2 * np.pi) - np.pi)
        elsewhere = np.isinf(slack) & self._examined(a, b) & ~self._possible(a, b)
        least[elsewhere] = np.inf
        return least, most, turn

    def candidates(self, poses: np.ndarray, frames: np.ndarray, radius_m: float) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of rows (K,), (K,) of different frames of which the first is placed within `radius_m` of the second."""
        firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        order, placed = np.argsort(frames, kind="stable"), np.argsort(self.frames, kind="stable")
        sorted_frames, targets = frames[order], self.frames[placed]
        starts = np.flatnonzero(np.diff(targets, prepend=-1))
        for group in np.split(placed, starts[1:]) if len(placed) else []:
            frame = self.frames[group[0]]
            members = order[np.searchsorted(sorted_frames, frame) : np.searchsorted(sorted_frames, frame, side="right")]
            near = rows_within(poses[members, :2], self.poses[group, :2], radius_m)
            firsts.append(np.repeat(self.rows[group], [len(one) for one in near]))
            seconds.append(members[np.concatenate(near)] if near else np.zeros(0, np.int64))
        return np.concatenate(firsts), np.concatenate(seconds)

    def _find(self, rows: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Number (K,) of what is known of each row in each frame, -1 where there is nothing."""
        if not len(self.rows):
            return np.full(len(rows), -1)
        wanted = rows * len(self.drifting) + frames
        at = np.minimum(np.searchsorted(self._sought, wanted), len(self.rows) - 1)
        return np.where(self._sought[at] == wanted, at, -1)

    @cached_property
    def _sought(self) -> np.ndarray:
        return self.rows * len(self.drifting) + self.frames

    def _examined(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.isin(self.drives[a] * self.counts[0] + self.drives[b], self.examined)

    def _possible(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.isin(self.cells[a] * self.counts[1] + self.cells[b], self.possible)


def ways_of(positions_m: np.ndarray, drives: np.ndarray, posed: np.ndarray) -> np.ndarray:
    """Metres (N,) along each drive up to each sample, in the order of the rows; without a position the sample's number
    in its drive."""
    ways = np.zeros(len(drives))
    for drive in np.unique(drives):
        rows = np.flatnonzero(drives == drive)
        stood = rows[posed[rows]]
        steps = np.diff(positions_m[stood], axis=0)
        ways[stood[1:]] = np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))
        ways[rows[~posed[rows]]] = np.flatnonzero(~posed[rows])
    return ways


def _cells(ways_m: np.ndarray, drives: np.ndarray, posed: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers (N,) of the stretches of the drives, and a bound of them; no two drives' stretches are beside each
    other."""
    own = np.floor(ways_m / np.where(posed, CELL_M, CELL_FRAMES)).astype(np.int64)
    cells, next_one = np.zeros(len(drives), np.int64), 1
    for drive in np.unique(drives):
        for kind in (True, False):
            rows = np.flatnonzero((drives == drive) & (posed == kind))
            if len(rows):
                cells[rows] = next_one + own[rows]
                next_one += int(own[rows].max()) + 3
    return cells, next_one


def _keys(pairs: np.ndarray, count: int) -> np.ndarray:
    """Ascending keys of pairs (K, 2) of numbers below `count`, in both orders."""
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    return np.unique(np.concatenate([pairs[:, 0] * count + pairs[:, 1], pairs[:, 1] * count + pairs[:, 0]]))


def _placed(
    ends: np.ndarray,
    beyond: np.ndarray,
    frames: np.ndarray,
    poses: np.ndarray,
    ways_m: np.ndarray,
    drives: np.ndarray,
    drifting: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Samples in the frames of others: row, frame, pose, way by odometry to the pair, way of the pair's other end.

    `ends` (K, 2) are the pairs, either way round; `beyond` (K, 3) the pose of the first in the frame of the second.
    """
    none = np.zeros(0)
    found = [(none.astype(np.int64), none.astype(np.int64), np.zeros((0, 3)), none, none)]
    tracks = np.unique(np.column_stack([drives, frames]), axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(tracks, kind="stable")
    sorted_tracks = tracks[order]
    keys = tracks[ends[:, 0]] * (int(frames.max(initial=-1)) + 1) + frames[ends[:, 1]]
    by_key = np.lexsort((ways_m[ends[:, 0]], keys))
    starts = np.flatnonzero(np.diff(keys[by_key], prepend=-1))
    for group in np.split(by_key, starts[1:]) if len(by_key) else []:
        track = tracks[ends[group[0], 0]]
        rows = order[np.searchsorted(sorted_tracks, track) : np.searchsorted(sorted_tracks, track, side="right")]
        anchors = ways_m[ends[group, 0]]
        after = np.clip(np.searchsorted(anchors, ways_m[rows]), 1, len(anchors) - 1) if len(anchors) > 1 else 0
        before = np.maximum(np.asarray(after) - 1, 0)
        closer = np.abs(anchors[before] - ways_m[rows]) <= np.abs(anchors[after] - ways_m[rows])
        pair = group[np.where(closer, before, after)]
        steps = np.abs(ways_m[ends[pair, 0]] - ways_m[rows])
        inside = (steps <= REACH_M) & (frames[rows] != frames[ends[pair, 1]])
        rows, pair, steps = rows[inside], pair[inside], steps[inside]
        within = _compose(_invert(poses[ends[pair, 0]]), poses[rows])
        other = ends[pair, 1]
        by_odometry = steps * drifting[frames[rows]]
        found.append((rows, frames[other], _compose(beyond[pair], within), by_odometry, ways_m[other]))
    rows, targets, placed, steps, others = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((targets, rows))
    return rows[order], targets[order], placed[order], steps[order], others[order]


def _compose(T: np.ndarray, U: np.ndarray) -> np.ndarray:
    """T·U of planar poses (..., 3): x, y in metres and yaw."""
    c, s = np.cos(T[..., 2]), np.sin(T[..., 2])
    x, y = T[..., 0] + c * U[..., 0] - s * U[..., 1], T[..., 1] + s * U[..., 0] + c * U[..., 1]
    return np.stack([x, y, T[..., 2] + U[..., 2]], axis=-1)


def _invert(T: np.ndarray) -> np.ndarray:
    """Inverse of planar poses (..., 3)."""
    c, s = np.cos(T[..., 2]), np.sin(T[..., 2])
    x, y = -c * T[..., 0] - s * T[..., 1], s * T[..., 0] - c * T[..., 1]
    return np.stack([x, y, -T[..., 2]], axis=-1)
