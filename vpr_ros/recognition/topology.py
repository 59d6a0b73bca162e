"""Where keyframes lie beside each other: along each drive's own path, and in space between drives.

A *segment* is an unbroken piece of one session. Every row has a coordinate along its segment, in equivalent metres
(distance travelled plus a weight times the heading turned) or, for sessions without poses, in frames. Segments lie far
apart on the common axis, so that motion along it never crosses from one to another. Positions are compared only within
one *group*: the map frame, or a segment's own frame where the map frame is unknown.
"""

import math
from collections import defaultdict
from typing import Any

import numpy as np

from vpr_ros.geometry import turn_between, yaw_of

SEGMENT_GAP = 1.0e5
MIN_STEP_M = 0.05  # keyframes taken on one spot keep distinct coordinates
MAX_STEP_M = 100.0  # a longer step between neighbours is a reset of the odometry, not motion
MAP, ODOM, FRAMES = 0, 1, 2  # what a segment's positions are measured in


def motion_between(T_a: np.ndarray, T_b: np.ndarray, turn_weight_m: float) -> np.ndarray:
    """Equivalent metres (...) between poses (..., 4, 4): distance plus `turn_weight_m` per radian of heading."""
    distance = np.linalg.norm(T_b[..., :3, 3] - T_a[..., :3, 3], axis=-1)
    turn = turn_between(yaw_of(T_b), yaw_of(T_a))
    return distance + turn_weight_m * turn


class Topology:
    """Aligned arrays over the keyframes, growing by `append`; rows never move.

    `keyframes` needs the attributes ids, sessions, stamps_ns (N,), T_map_base and T_odom_base (N, 4, 4) with NaN rows
    where unknown, sorted by (session, stamp). `radius` is in metres, and counts frames for sessions without poses.
    """

    def __init__(self, keyframes: Any, radius: float, turn_weight_m: float = 1.0, max_heading_rad: float = math.pi / 4):
        self.radius = float(radius)
        self.turn_weight_m = turn_weight_m
        self.max_heading_rad = max_heading_rad
        self.n = 0
        self._capacity = 0
        self._fields: dict[str, np.ndarray] = {}
        self._cells: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        self._cell_size = max(self.radius, 1.0)
        self._colocated: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.spacing_m = 1.0  # median step of the metric segments: below it the belief cannot resolve motion
        self._spacing_at = 0
        if keyframes is not None and len(keyframes.ids):
            self._build(keyframes)

    def __getattr__(self, name: str) -> np.ndarray:
        fields = self.__dict__.get("_fields", {})
        if name in fields:
            return fields[name][: self.n]
        raise AttributeError(name)

    @property
    def has_metric(self) -> bool:
        """True where odometry in metres says something about motion along at least one segment."""
        return self.n > 0 and bool((self.kinds != FRAMES).any())

    def append(self, keyframe_id: int, session: int, stamp_ns: int, T_map_base=None, T_odom_base=None) -> int:
        """Adds one keyframe at the end of its session's path; returns its row."""
        nan = np.full((4, 4), np.nan)
        T_map = nan if T_map_base is None else np.asarray(T_map_base, dtype=np.float64)
        T_odom = nan if T_odom_base is None else np.asarray(T_odom_base, dtype=np.float64)
        map_ok, odom_ok = bool(np.isfinite(T_map).all()), bool(np.isfinite(T_odom).all())
        kind = MAP if map_ok else ODOM if odom_ok else FRAMES
        self._reserve(self.n + 1)
        row, last = self.n, self.n - 1
        f = self._fields
        joined = last >= 0 and f["sessions"][last] == session and f["kinds"][last] == kind
        step = 1.0
        if joined and kind != FRAMES:
            if odom_ok and np.isfinite(f["T_odom_base"][last]).all():
                step = float(motion_between(f["T_odom_base"][last], T_odom, self.turn_weight_m))
            else:
                step = float(motion_between(f["T_map_base"][last], T_map, self.turn_weight_m))
            joined = step <= MAX_STEP_M
        segment = f["segments"][last] if joined else (f["segments"][last] + 1 if last >= 0 else 0)
        start = f["coordinates"][last] if last >= 0 else 0.0
        f["ids"][row], f["sessions"][row], f["stamps_ns"][row] = keyframe_id, session, stamp_ns
        f["T_map_base"][row], f["T_odom_base"][row] = T_map, T_odom
        f["kinds"][row], f["segments"][row] = kind, segment
        f["coordinates"][row] = start + (max(step, MIN_STEP_M) if joined else SEGMENT_GAP)
        f["groups"][row] = 0 if kind == MAP else 1 + segment
        self.n += 1
        self._place(row, row + 1)
        self._measure(max(last, 0), row + 1)
        self._hash(row, row + 1)
        if self.n >= 2 * self._spacing_at:
            self.update_spacing()
        return row

    def near(self, row: int, distance: float) -> np.ndarray:
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

    def distinct(self, rows: np.ndarray, distance: float) -> np.ndarray:
        """Booleans (M, M): known to lie further apart than `distance`. Rows of different groups are never known to."""
        p, groups = self.positions[rows], self.groups[rows]
        apart = np.linalg.norm(p[:, None] - p[None], axis=-1) > distance
        return apart & (groups[:, None] == groups[None])

    def colocated(self, row: int) -> tuple[np.ndarray, np.ndarray]:
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

    def _build(self, keyframes: Any) -> None:
        n = len(keyframes.ids)
        self._reserve(n)
        self.n = n
        f = self._fields
        _, codes = np.unique(np.asarray(keyframes.sessions), return_inverse=True)
        sessions = np.asarray(keyframes.sessions)
        f["sessions"][:n] = sessions if np.issubdtype(sessions.dtype, np.integer) else codes
        f["ids"][:n], f["stamps_ns"][:n] = keyframes.ids, keyframes.stamps_ns
        f["T_map_base"][:n], f["T_odom_base"][:n] = keyframes.T_map_base, keyframes.T_odom_base
        map_ok = np.isfinite(f["T_map_base"][:n]).all(axis=(1, 2))
        odom_ok = np.isfinite(f["T_odom_base"][:n]).all(axis=(1, 2))
        first = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        all_map = np.logical_and.reduceat(map_ok, first)
        all_odom = np.logical_and.reduceat(odom_ok, first)
        lengths = np.diff(np.r_[first, n])
        # One missing pose makes a whole session count frames or fall back to the other pose: its path is not known
        # there.
        f["kinds"][:n] = np.repeat(np.where(all_map, MAP, np.where(all_odom, ODOM, FRAMES)), lengths)
        by_odom = np.repeat(all_odom, lengths)
        steps = np.ones(n)
        for source, use in (("T_odom_base", by_odom), ("T_map_base", ~by_odom & (f["kinds"][:n] == MAP))):
            i = np.flatnonzero(use[1:] & use[:-1]) + 1
            steps[i] = np.maximum(motion_between(f[source][i - 1], f[source][i], self.turn_weight_m), MIN_STEP_M)
        breaks = np.zeros(n, dtype=bool)
        breaks[first] = True
        breaks |= steps > MAX_STEP_M
        f["segments"][:n] = np.cumsum(breaks) - 1
        f["coordinates"][:n] = np.cumsum(np.where(breaks, SEGMENT_GAP, steps))
        f["groups"][:n] = np.where(f["kinds"][:n] == MAP, 0, 1 + f["segments"][:n])
        self._place(0, n)
        self._measure(0, n)
        self._hash(0, n)
        self.update_spacing()

    def _reserve(self, size: int) -> None:
        if size <= self._capacity:
            return
        capacity = max(size, 2 * self._capacity, 64)
        shapes = {
            "ids": "i8",
            "sessions": "i8",
            "stamps_ns": "i8",
            "kinds": "i8",
            "segments": "i8",
            "groups": "i8",
            "coordinates": "f8",
            "widths": "f8",
            "gaps": "f8",
            "yaws": "f8",
        }
        fields: dict[str, Any] = {name: np.zeros(capacity, dtype=kind) for name, kind in shapes.items()}
        fields["positions"] = np.zeros((capacity, 3))
        fields["T_map_base"] = np.full((capacity, 4, 4), np.nan)
        fields["T_odom_base"] = np.full((capacity, 4, 4), np.nan)
        for name, old in self._fields.items():
            fields[name][: self.n] = old[: self.n]
        self._fields, self._capacity = fields, capacity

    def _place(self, lo: int, hi: int) -> None:
        f, rows = self._fields, slice(lo, hi)
        kinds = f["kinds"][rows, None]
        frames = np.zeros((hi - lo, 3))
        frames[:, 0] = f["coordinates"][rows]
        f["positions"][rows] = np.select(
            [kinds == MAP, kinds == ODOM], [f["T_map_base"][rows, :3, 3], f["T_odom_base"][rows, :3, 3]], frames
        )
        pose = np.where(kinds[:, :, None] == MAP, f["T_map_base"][rows], f["T_odom_base"][rows])
        f["yaws"][rows] = np.where(kinds[:, 0] == FRAMES, 0.0, np.nan_to_num(yaw_of(pose)))

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
        self._fields["gaps"][lo:hi] = np.minimum(np.maximum(left, right), limit)
        self._fields["widths"][lo:hi] = 0.5 * (np.minimum(left, limit) + np.minimum(right, limit))

    def _hash(self, lo: int, hi: int) -> None:
        cells = np.floor(self.positions[lo:hi, :2] / self._cell_size).astype(np.int64)
        for row, group, (ix, iy) in zip(range(lo, hi), self.groups[lo:hi].tolist(), cells.tolist(), strict=True):
            self._cells[group, ix, iy].append(row)
        if hi - lo == 1 and self._colocated:
            for row in self.near(lo, self.radius).tolist():
                self._colocated.pop(row, None)

    def _cell_of(self, p: np.ndarray) -> tuple[int, int]:
        return math.floor(p[0] / self._cell_size), math.floor(p[1] / self._cell_size)

    def update_spacing(self) -> None:
        """Takes the median step anew; else that happens each time the map has doubled."""
        self._spacing_at = self.n
        same = (np.diff(self.segments) == 0) & (self.kinds[1:] != FRAMES)
        steps = np.diff(self.coordinates)[same]
        self.spacing_m = float(np.clip(np.median(steps), 0.1, 10.0)) if len(steps) else 1.0
