"""Topological Bayes filter: where on the map's drives the robot is, or that it has left the map.

States are the keyframes and one off-map state. The belief is kept as three parts: the off-map mass, a *uniform* mass
("on the map, at an unknown place", the same on every keyframe) and a sparse excess on single keyframes. Motion moves
the excess; the uniform part stays uniform. So one step costs what the excess costs, whatever the size of the map.

Prediction, for an excess e over keyframes with coordinates c (see topology):
  restart   every state keeps 1 - r and gets r times the prior; leaving and returning exchange mass between map and
  off-map shift     e'_j = sum_i e_i K_ij, K_ij = w_j N(c_j; c_i + u, s_i^2) / max(Z_i, 1), Z_i = sum_j w_j N(...), a
  mixture over u in
            {travelled, 0, -travelled}; s_i^2 = floor^2 + (a u)^2 + (gap_i / 2)^2; what falls beyond the ends, or
            into a hole, goes on along other drives through the place of i, and what they do not have leaves the map
  plain     without odometry: e'_{i+k} = sum_k q_k e_i over a few keyframe steps k
  mixing    a fraction goes to keyframes of other drives at the same place and heading
Update: e and the uniform mass are multiplied by likelihood ratios against being off the map, whose own ratio is 1.
"""

from collections.abc import Iterator

import numpy as np

from vpr_ros.configuration import FilterConfig
from vpr_ros.recognition.motion import Motion
from vpr_ros.recognition.topology import FRAMES, Topology

REACH = 4.0  # a Gaussian is cut at this many standard deviations
COUNTED = 30  # rows between the first and the last target, for each target


class TopologicalFilter:
    """Belief over the rows of a Topology plus off-map; `predict` then `update` once per query."""

    def __init__(self, topology: Topology, config: FilterConfig | None = None):
        self.topology = topology
        self.config = config or FilterConfig()
        self.reset()

    def reset(self) -> None:
        """Back to the prior: off the map, or anywhere on it."""
        self.off = self.config.prior_off_map
        self.uniform = 1.0 - self.off
        self.rows = np.empty(0, dtype=np.int64)  # sorted, unique
        self.excess = np.empty(0)

    def belief(self, rows: np.ndarray) -> np.ndarray:
        """Probability (M,) of single keyframes."""
        out = np.full(len(rows), self.uniform / max(self.topology.n, 1))
        if len(self.rows):
            at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
            hit = self.rows[at] == rows
            out[hit] += self.excess[at[hit]]
        return out

    def predict(self, motion: Motion, novelty: float = 1.0) -> None:
        """Moves the belief to the time of the next query.

        `novelty` in [0, 1] says how much of the image is new; it scales the rates per frame, so that a standing robot
        with a camera at 30 Hz does not forget where it is.
        """
        c = self.config
        if motion.step_m is None:
            leave, back = c.leave_per_frame * novelty, c.return_per_frame * novelty
        else:
            leave, back = 1 - np.exp(-c.leave_per_m * motion.step_m), 1 - np.exp(-c.return_per_m * motion.step_m)
        restart = c.restart_per_frame * novelty
        off, uniform = self.off, self.uniform
        on = 1.0 - off
        self.off = (1 - restart) * (off * (1 - back) + on * leave) + restart * c.prior_off_map
        self.uniform = (1 - restart) * (uniform * (1 - leave) + off * back) + restart * (1 - c.prior_off_map)
        self.excess = self.excess * ((1 - restart) * (1 - leave))
        if len(self.rows) and (motion.shift_m is not None or motion.step_m is None):
            self._move(motion.shift_m)
            self._mix()
        self._tidy()

    def update(self, rows: np.ndarray, log_ratios: np.ndarray, log_floor: float) -> None:
        """Bayes' rule: `log_ratios` (M,) for the retrieved rows (M,), `log_floor` for every other keyframe, 0 for
        off-map."""
        base = self.uniform / max(self.topology.n, 1)
        # No retrieved keyframe is less likely than those that were not retrieved; it keeps the excess non-negative.
        ratios = np.exp(np.maximum(log_ratios, log_floor))
        floor = float(np.exp(log_floor))
        before = self.belief(rows)
        self.excess = self.excess * floor
        self._set(rows, before * ratios - base * floor)
        self.uniform *= floor
        total = self.off + self.uniform + self.excess.sum()
        self.off, self.uniform, self.excess = self.off / total, self.uniform / total, self.excess / total

    def _set(self, rows: np.ndarray, values: np.ndarray) -> None:
        keep = ~np.isin(self.rows, rows)
        merged = np.concatenate([self.rows[keep], rows])
        order = np.argsort(merged, kind="stable")
        self.rows = merged[order]
        self.excess = np.concatenate([self.excess[keep], np.maximum(values, 0.0)])[order]

    def _move(self, shift_m: float | None) -> None:
        c = self.config
        framed = self.topology.kinds[self.rows] == FRAMES
        plain = framed if shift_m is not None else np.ones(len(self.rows), dtype=bool)
        targets: list[np.ndarray] = []
        masses: list[np.ndarray] = []
        if plain.any():
            t, m = self._plain(self.rows[plain], self.excess[plain])
            targets.append(t)
            masses.append(m)
        if shift_m is not None and not plain.all():
            rows, excess = self.rows[~plain], self.excess[~plain]
            forward = 1.0 - c.stand_weight - c.reverse_weight
            for weight, u in ((forward, shift_m), (c.stand_weight, 0.0), (c.reverse_weight, -shift_m)):
                if weight > 0:
                    for t, m in self._onwards(rows, excess * weight, u):
                        targets.append(t)
                        masses.append(m)
        self._gather(np.concatenate(targets), np.concatenate(masses))

    def _onwards(self, rows: np.ndarray, mass: np.ndarray, u: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Targets and masses along each drive, and along others through the same place where its keyframes end."""
        targets, moved, lost = self._gaussian(rows, mass, u)
        yield targets, moved
        givers = np.flatnonzero(lost > self.config.mix_above)
        links = [self.topology.colocated(row) for row in rows[givers].tolist()]
        counts = [len(others) for others, _ in links]
        if sum(counts):
            others, weights = (np.concatenate(parts) for parts in zip(*links, strict=True))
            targets, moved, _ = self._gaussian(others, np.repeat(lost[givers], counts) * weights, u)
            yield targets, moved

    def _gaussian(self, rows: np.ndarray, mass: np.ndarray, u: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Targets and masses along each drive, and how much of each mass (M,) has gone beyond its keyframes."""
        c, top = self.config, self.topology
        goal = top.coordinates[rows] + u
        sigma = np.sqrt(c.sigma_floor_m**2 + (c.sigma_per_m * u) ** 2 + (0.5 * top.gaps[rows]) ** 2)
        lo = np.searchsorted(top.coordinates, goal - REACH * sigma)
        hi = np.searchsorted(top.coordinates, goal + REACH * sigma, side="right")
        counts = hi - lo
        source = np.repeat(np.arange(len(rows)), counts)
        numbers: np.ndarray = np.arange(int(counts.sum()))
        target = numbers - np.repeat(np.cumsum(counts) - counts, counts) + lo[source]
        x = (top.coordinates[target] - goal[source]) / sigma[source]
        kernel = top.widths[target] * np.exp(-0.5 * x * x) / (sigma[source] * np.sqrt(2 * np.pi))
        z = np.bincount(source, kernel, minlength=len(rows))
        return target, kernel * (mass / np.maximum(z, 1.0))[source], mass * (1.0 - np.minimum(z, 1.0))

    def _plain(self, rows: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        top = self.topology
        steps = np.arange(len(self.config.plain_steps)) - 1
        target = rows[:, None] + steps[None]
        inside = (target >= 0) & (target < top.n)
        inside &= top.segments[np.clip(target, 0, top.n - 1)] == top.segments[rows][:, None]
        moved = mass[:, None] * np.asarray(self.config.plain_steps)[None]
        return target[inside], moved[inside]

    def _mix(self) -> None:
        c, top = self.config, self.topology
        if c.mix_weight <= 0 or not len(self.rows):
            return
        givers = np.flatnonzero(self.excess > c.mix_above)
        links = [top.colocated(row) for row in self.rows[givers].tolist()]
        counts = np.array([len(rows) for rows, _ in links], dtype=np.int64)
        if not counts.any():
            return
        given = np.where(counts > 0, c.mix_weight, 0.0) * self.excess[givers]
        kept = self.excess.copy()
        kept[givers] -= given
        targets = np.concatenate([self.rows, *(rows for rows, _ in links)])
        masses = np.concatenate([kept, np.repeat(given, counts) * np.concatenate([w for _, w in links])])
        self._gather(targets, masses)

    def _gather(self, targets: np.ndarray, masses: np.ndarray) -> None:
        """Adds up the moved mass per row; what did not arrive anywhere has left the map."""
        before = self.excess.sum()
        first = int(targets.min(initial=self.topology.n))
        if int(targets.max(initial=0)) - first < COUNTED * len(targets):  # counting is ten times as fast as sorting
            at = targets - first
            arrived = np.flatnonzero(np.bincount(at))
            self.rows, self.excess = arrived + first, np.bincount(at, masses)[arrived]
        else:
            self.rows, inverse = np.unique(targets, return_inverse=True)
            self.excess = np.bincount(inverse, masses, minlength=len(self.rows))
        self.off += max(0.0, before - self.excess.sum())

    def _tidy(self) -> None:
        """Forgets negligible excess into the uniform part, so that the sparse part stays small."""
        c = self.config
        keep = self.excess > c.prune_below
        if keep.sum() > c.max_active:
            keep &= self.excess >= np.partition(self.excess, -c.max_active)[-c.max_active]
        self.uniform += float(self.excess[~keep].sum())
        self.rows, self.excess = self.rows[keep], self.excess[keep]
