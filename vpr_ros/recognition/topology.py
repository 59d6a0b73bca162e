"""Where keyframes lie beside each other: along each drive's own path, and in space between drives.

A *segment* is an unbroken piece of one session. Every row has a coordinate along its segment, in equivalent metres
(distance travelled plus a weight times the heading turned) or, for sessions without poses, in frames. Segments lie far
apart on the common axis, so that motion along it never crosses from one to another. Positions are compared only within
one *group*: the map frame, or a segment's own frame where the map frame is unknown.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vpr_ros.geometry import turn_between, yaw_of
from vpr_ros.place_map.keyframes import Keyframes

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

SEGMENT_GAP = 1.0e5
MIN_STEP_M = 0.05  # keyframes taken on one spot keep distinct coordinates
MAX_STEP_M = 100.0  # a longer step between neighbours is a reset of the odometry, not motion
MAP, ODOM, FRAMES = 0, 1, 2  # what a segment's positions are measured in
LEAST_CAPACITY = 64


def motion_between(T_a: Floats, T_b: Floats, turn_weight_m: float) -> Floats:
    """Equivalent metres (...) between poses (..., 4, 4): distance plus `turn_weight_m` per radian of heading."""
    distance = np.linalg.norm(T_b[..., :3, 3] - T_a[..., :3, 3], axis=-1)
    return distance + turn_weight_m * turn_between(yaw_of(T_b), yaw_of(T_a))


@dataclass(frozen=True)
class _Columns:
    """One row per keyframe, and room for more behind them."""

    ids: Integers  # (N,)
    sessions: Integers  # (N,)
    stamps_ns: Integers  # (N,)
    kinds: Integers  # (N,) MAP, ODOM or FRAMES
    segments: Integers  # (N,)
    groups: Integers  # (N,)
    coordinates: Floats  # (N,) along the segment
    widths: Floats  # (N,) of the cell that the keyframe stands for
    gaps: Floats  # (N,) to the farther of its two neighbours
    yaws: Floats  # (N,)
    positions: Floats  # (N, 3)
    T_map_base: Floats  # (N, 4, 4)
    T_odom_base: Floats  # (N, 4, 4)

    @classmethod
    def empty(cls, capacity: int) -> "_Columns":
        return cls(
            ids=np.zeros(capacity, dtype=np.int64),
            sessions=np.zeros(capacity, dtype=np.int64),
            stamps_ns=np.zeros(capacity, dtype=np.int64),
            kinds=np.zeros(capacity, dtype=np.int64),
            segments=np.zeros(capacity, dtype=np.int64),
            groups=np.zeros(capacity, dtype=np.int64),
            coordinates=np.zeros(capacity),
            widths=np.zeros(capacity),
            gaps=np.zeros(capacity),
            yaws=np.zeros(capacity),
            positions=np.zeros((capacity, 3)),
            T_map_base=np.full((capacity, 4, 4), np.nan),
            T_odom_base=np.full((capacity, 4, 4), np.nan),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def grown(self, capacity: int) -> "_Columns":
        """A copy with more room."""
        new = _Columns.empty(capacity)
        for field in fields(self):
            getattr(new, field.name)[: len(self)] = getattr(self, field.name)
        return new


class Topology:
    """Aligned arrays over the keyframes, growing by `append`; rows never move.

    `keyframes` are sorted by (session, stamp). `radius` is in metres, and counts frames for sessions without poses.
    """

    def __init__(
        self,
        keyframes: Keyframes | None,
        radius: float,
        turn_weight_m: float = 1.0,
        max_heading_rad: float = math.pi / 4,
    ):
        self.radius = float(radius)
        self.turn_weight_m = turn_weight_m
        self.max_heading_rad = max_heading_rad
        self.n = 0
        self._columns = _Columns.empty(LEAST_CAPACITY)
        self._show()
        self._cells: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        self._cell_size = max(self.radius, 1.0)
        self._colocated: dict[int, tuple[Integers, Floats]] = {}
        self.spacing_m = 1.0  # median step of the metric segments: below it the belief cannot resolve motion
        self._spacing_at = 0
        if keyframes is not None and len(keyframes):
            self._build(keyframes)

    def _show(self) -> None:
        """Sets the public arrays to the rows in use; to be called whenever rows are added."""
        c, n = self._columns, self.n
        self.ids, self.sessions, self.stamps_ns = c.ids[:n], c.sessions[:n], c.stamps_ns[:n]
        self.kinds, self.segments, self.groups = c.kinds[:n], c.segments[:n], c.groups[:n]
        self.coordinates, self.widths, self.gaps = c.coordinates[:n], c.widths[:n], c.gaps[:n]
        self.yaws, self.positions = c.yaws[:n], c.positions[:n]
        self.T_map_base, self.T_odom_base = c.T_map_base[:n], c.T_odom_base[:n]

    @property
    def has_metric(self) -> bool:
        """True where odometry in metres says something about motion along at least one segment."""
        return self.n > 0 and bool((self.kinds != FRAMES).any())

    def append(
        self,
        keyframe_id: int,
        session: int,
        stamp_ns: int,
        T_map_base: np.ndarray | None = None,
        T_odom_base: np.ndarray | None = None,
    ) -> int:
        """Adds one keyframe at the end of its session's path; returns its row."""
        nan = np.full((4, 4), np.nan)
        T_map = nan if T_map_base is None else np.asarray(T_map_base, dtype=np.float64)
        T_odom = nan if T_odom_base is None else np.asarray(T_odom_base, dtype=np.float64)
        map_ok, odom_ok = bool(np.isfinite(T_map).all()), bool(np.isfinite(T_odom).all())
        kind = MAP if map_ok else ODOM if odom_ok else FRAMES
        self._reserve(self.n + 1)
        row, last = self.n, self.n - 1
        c = self._columns
        joined = last >= 0 and bool(c.sessions[last] == session and c.kinds[last] == kind)
        step = 1.0
        if joined and kind != FRAMES:
            if odom_ok and np.isfinite(c.T_odom_base[last]).all():
                step = float(motion_between(c.T_odom_base[last], T_odom, self.turn_weight_m))
            else:
                step = float(motion_between(c.T_map_base[last], T_map, self.turn_weight_m))
            joined = step <= MAX_STEP_M
        segment = c.segments[last] if joined else (c.segments[last] + 1 if last >= 0 else 0)
        start = c.coordinates[last] if last >= 0 else 0.0
        c.ids[row], c.sessions[row], c.stamps_ns[row] = keyframe_id, session, stamp_ns
        c.T_map_base[row], c.T_odom_base[row] = T_map, T_odom
        c.kinds[row], c.segments[row] = kind, segment
        c.coordinates[row] = start + (max(step, MIN_STEP_M) if joined else SEGMENT_GAP)
        c.groups[row] = 0 if kind == MAP else 1 + segment
        self.n += 1
        self._show()
        self._place(row, row + 1)
        self._measure(max(last, 0), row + 1)
        self._hash(row, row + 1)
        if self.n >= 2 * self._spacing_at:
            self.update_spacing()
        return row

    def near(self, row: int, distance: float) -> Integers:
        """Rows (M,) of the same group whose position is within `distance` of this row's, itself included."""
        p, group = self.positions[row], int(self.groups[row])
        reach = math.ceil(distance / self._cell_size)
        cx, cy = self._cell_of(p)
        found: list[int] = []
        for ix in range(cx - reach, cx + reach + 1):
            for iy in range(cy - reach, cy + reach + 1):
                found.extend(self._cells.get((group, ix, iy), ()))
        rows = np.sort(np.array(found, dtype=np.int64))
        return rows[np.linalg.norm(self.positions[rows] - p, axis=1) <= distance]

    def distinct(self, rows: Integers, distance: float) -> NDArray[np.bool_]:
        """Booleans (M, M): known to lie further apart than `distance`. Rows of different groups are never known to."""
        p, groups = self.positions[rows], self.groups[rows]
        farther = np.linalg.norm(p[:, None] - p[None], axis=-1) > distance
        return farther & (groups[:, None] == groups[None])

    def continues(self, last: int, row: int, reach: float) -> bool:
        """Whether a row lies within `reach` of another one, along its drive or beside it."""
        along = abs(float(self.coordinates[row] - self.coordinates[last]))
        return along <= reach or bool(np.isin(row, self.near(last, reach)))

    def colocated(self, row: int) -> tuple[Integers, Floats]:
        """Keyframes of other passes at the same place seen in the same direction: rows (M,) and weights (M,) summing
        to 1.

        Weights fall with distance on a quarter of the radius: the belief jumps to the other drive's nearest keyframes.
        """
        cached = self._colocated.get(row)
        if cached is not None:
            return cached
        if self.kinds[row] == FRAMES:
            rows = np.empty(0, dtype=np.int64)
        else:
            rows = self.near(row, self.radius)
            turn = turn_between(self.yaws[rows], self.yaws[row])
            other = (self.segments[rows] != self.segments[row]) | (
                np.abs(self.coordinates[rows] - self.coordinates[row]) > 4 * self.radius
            )
            rows = rows[other & (turn < self.max_heading_rad)]
        squared = ((self.positions[rows] - self.positions[row]) ** 2).sum(axis=1)
        # The nearest weighs 1 before normalisation: no underflow.
        weights = np.exp(-0.5 * (squared - squared.min(initial=np.inf)) / (0.25 * self.radius) ** 2)
        self._colocated[row] = rows, weights / weights.sum() if len(rows) else weights
        return self._colocated[row]

    def _build(self, keyframes: Keyframes) -> None:
        n = len(keyframes)
        self._reserve(n)
        self.n = n
        self._show()
        self.ids[:], self.sessions[:], self.stamps_ns[:] = keyframes.ids, keyframes.sessions, keyframes.stamps_ns
        self.T_map_base[:], self.T_odom_base[:] = keyframes.T_map_base, keyframes.T_odom_base
        map_ok = np.isfinite(self.T_map_base).all(axis=(1, 2))
        odom_ok = np.isfinite(self.T_odom_base).all(axis=(1, 2))
        first = np.flatnonzero(np.r_[True, self.sessions[1:] != self.sessions[:-1]])
        all_map = np.logical_and.reduceat(map_ok, first)
        all_odom = np.logical_and.reduceat(odom_ok, first)
        lengths = np.diff(np.r_[first, n])
        # One missing pose makes a whole session count frames or fall back to the other pose: its path is not known
        # there.
        self.kinds[:] = np.repeat(np.where(all_map, MAP, np.where(all_odom, ODOM, FRAMES)), lengths)
        by_odom = np.repeat(all_odom, lengths)
        steps = np.ones(n)
        for poses, use in ((self.T_odom_base, by_odom), (self.T_map_base, ~by_odom & (self.kinds == MAP))):
            i = np.flatnonzero(use[1:] & use[:-1]) + 1
            steps[i] = np.maximum(motion_between(poses[i - 1], poses[i], self.turn_weight_m), MIN_STEP_M)
        breaks = np.zeros(n, dtype=np.bool_)
        breaks[first] = True
        breaks |= steps > MAX_STEP_M
        self.segments[:] = np.cumsum(breaks) - 1
        self.coordinates[:] = np.cumsum(np.where(breaks, SEGMENT_GAP, steps))
        self.groups[:] = np.where(self.kinds == MAP, 0, 1 + self.segments)
        self._place(0, n)
        self._measure(0, n)
        self._hash(0, n)
        self.update_spacing()

    def _reserve(self, size: int) -> None:
        if size > len(self._columns):
            self._columns = self._columns.grown(max(size, 2 * len(self._columns)))
            self._show()

    def _place(self, lo: int, hi: int) -> None:
        rows = slice(lo, hi)
        kinds = self.kinds[rows, None]
        frames = np.zeros((hi - lo, 3))
        frames[:, 0] = self.coordinates[rows]
        self.positions[rows] = np.select(
            [kinds == MAP, kinds == ODOM], [self.T_map_base[rows, :3, 3], self.T_odom_base[rows, :3, 3]], frames
        )
        pose = np.where(kinds[:, :, None] == MAP, self.T_map_base[rows], self.T_odom_base[rows])
        self.yaws[rows] = np.where(kinds[:, 0] == FRAMES, 0.0, np.nan_to_num(yaw_of(pose)))

    def _measure(self, lo: int, hi: int) -> None:
        """Cell widths and local gaps of rows lo..hi, which may have gained a neighbour."""
        c, seg = self.coordinates, self.segments
        i = np.arange(lo, hi)
        before, after = np.maximum(i - 1, 0), np.minimum(i + 1, self.n - 1)
        left = np.where((i > 0) & (seg[before] == seg[i]), c[i] - c[before], np.nan)
        right = np.where((i < self.n - 1) & (seg[after] == seg[i]), c[after] - c[i], np.nan)
        left, right = np.where(np.isnan(left), right, left), np.where(np.isnan(right), left, right)
        left, right = np.where(np.isnan(left), 1.0, left), np.where(np.isnan(right), 1.0, right)
        # A hole longer than the place radius is no part of the map: the belief leaves there instead of smearing across.
        limit = max(self.radius, 1.0)
        self.gaps[lo:hi] = np.minimum(np.maximum(left, right), limit)
        self.widths[lo:hi] = 0.5 * (np.minimum(left, limit) + np.minimum(right, limit))

    def _hash(self, lo: int, hi: int) -> None:
        cells = np.floor(self.positions[lo:hi, :2] / self._cell_size).astype(np.int64)
        for row, group, (ix, iy) in zip(range(lo, hi), self.groups[lo:hi].tolist(), cells.tolist(), strict=True):
            self._cells[group, ix, iy].append(row)
        if hi - lo == 1 and self._colocated:
            for row in self.near(lo, self.radius).tolist():
                self._colocated.pop(row, None)

    def _cell_of(self, p: Floats) -> tuple[int, int]:
        return math.floor(p[0] / self._cell_size), math.floor(p[1] / self._cell_size)

    def update_spacing(self) -> None:
        """Takes the median step anew; else that happens each time the map has doubled."""
        self._spacing_at = self.n
        same = (np.diff(self.segments) == 0) & (self.kinds[1:] != FRAMES)
        steps = np.diff(self.coordinates)[same]
        self.spacing_m = float(np.clip(np.median(steps), 0.1, 10.0)) if len(steps) else 1.0
