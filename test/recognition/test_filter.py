"""The sparse filter against an explicit transition matrix over all keyframes."""

import numpy as np
import pytest
from recognition_worlds import World, drive, keyframes

from vpr_ros.recognition.filter import FilterConfig, TopologicalFilter
from vpr_ros.recognition.motion import Motion
from vpr_ros.recognition.topology import Topology

CONFIG = FilterConfig(prune_below=0.0, mix_above=0.0)


def neighbours_matrix(top):
    """Of each keyframe the weights of those of other passes through the same place; rows of zeros where none are."""
    n = top.n
    M = np.zeros((n, n))
    for i in range(n):
        others = []
        for j in range(n):
            d = np.linalg.norm(top.positions[i] - top.positions[j])
            turn = abs((top.yaws[i] - top.yaws[j] + np.pi) % (2 * np.pi) - np.pi)
            along = abs(top.coordinates[i] - top.coordinates[j])
            other_pass = top.segments[i] != top.segments[j] or along > 4 * top.radius
            same_frame = top.groups[i] == top.groups[j] and top.kinds[i] != 2
            if same_frame and other_pass and d <= top.radius and turn < np.pi / 4:
                others.append((j, d))
        weights = np.array([np.exp(-0.5 * (d / (top.radius / 4)) ** 2) for _, d in others])
        for (j, _), w in zip(others, weights / weights.sum(), strict=True):
            M[i, j] += w
    return M


def mixing_matrix(top, config):
    M = neighbours_matrix(top)
    given = config.mix_weight * (M.sum(axis=1) > 0)
    return np.diag(1 - given) + given[:, None] * M


def shift_matrix(top, config, u):
    n = top.n
    K = np.zeros((n, n))
    stand, reverse = config.stand_weight, config.reverse_weight
    mixture = ((1 - stand - reverse, u), (stand, 0), (reverse, -u))
    beside = neighbours_matrix(top)
    for weight, v in mixture:
        along, arrives = np.zeros((n, n)), np.zeros(n)
        for i in range(n):
            sigma = (config.sigma_floor_m**2 + (config.sigma_per_m * v) ** 2 + (top.gaps[i] / 2) ** 2) ** 0.5
            row = np.zeros(n)
            for j in range(n):
                x = (top.coordinates[j] - top.coordinates[i] - v) / sigma
                if top.segments[i] == top.segments[j] and abs(x) <= 4:
                    row[j] = top.widths[j] * np.exp(-x * x / 2) / (sigma * (2 * np.pi) ** 0.5)
            along[i] = row / max(row.sum(), 1.0)
            arrives[i] = min(row.sum(), 1.0)
        for i in range(n):  # what this drive has no keyframes for goes on along the others
            K[i] += weight * (along[i] + (1 - arrives[i]) * beside[i] @ along)
    return K


def plain_matrix(top, config):
    n = top.n
    K = np.zeros((n, n))
    for i in range(n):
        for step, weight in enumerate(config.plain_steps, start=-1):
            if 0 <= i + step < n and top.segments[i + step] == top.segments[i]:
                K[i, i + step] += weight
    return K


class NaiveFilter:
    """Dense vectors and matrices; the same model, written out."""

    def __init__(self, top, config):
        self.top, self.config = top, config
        self.off, self.uniform, self.excess = config.prior_off_map, 1 - config.prior_off_map, np.zeros(top.n)
        self.mixing, self.plain, self.shifts = mixing_matrix(top, config), plain_matrix(top, config), {}

    def predict(self, motion, novelty):
        c, n = self.config, self.top.n
        if motion.step_m is None:
            leave, back = c.leave_per_frame * novelty, c.return_per_frame * novelty
        else:
            leave, back = 1 - np.exp(-c.leave_per_m * motion.step_m), 1 - np.exp(-c.return_per_m * motion.step_m)
        # states: n keyframes (excess), uniform, off
        A = np.zeros((n + 2, n + 2))
        A[np.arange(n), np.arange(n)] = 1 - leave
        A[:n, n + 1] = leave
        A[n, n], A[n, n + 1] = 1 - leave, leave
        A[n + 1, n + 1], A[n + 1, n] = 1 - back, back
        prior = np.r_[np.zeros(n), 1 - c.prior_off_map, c.prior_off_map]
        restart = c.restart_per_frame * novelty
        state = (1 - restart) * (np.r_[self.excess, self.uniform, self.off] @ A) + restart * prior
        moving = motion.shift_m is not None or motion.step_m is None
        excess, self.uniform, self.off = state[:n], state[n], state[n + 1]
        if moving:
            u = motion.shift_m
            if u is not None and u not in self.shifts:
                self.shifts[u] = shift_matrix(self.top, c, u)
            K = (self.plain if u is None else self.shifts[u]).copy()
            framed = self.top.kinds == 2
            K[framed] = self.plain[framed]
            moved = excess @ K @ self.mixing
            self.off += excess.sum() - moved.sum()
            excess = moved
        self.excess = excess

    def update(self, rows, log_ratios, log_floor):
        likelihood = np.full(self.top.n, np.exp(log_floor))
        for row, value in zip(rows, log_ratios, strict=True):
            likelihood[row] = max(np.exp(value), np.exp(log_floor))
        belief = (self.excess + self.uniform / self.top.n) * likelihood
        uniform = self.uniform * np.exp(log_floor)
        total = belief.sum() + self.off
        self.off, self.uniform = self.off / total, uniform / total
        self.excess = belief / total - self.uniform / self.top.n

    def belief(self):
        return self.excess + self.uniform / self.top.n


def two_drives(poses=True, odometry=True):
    world = World(4)
    a, b = drive(world, [(0, 0, 60)], step_m=2), drive(world, [(0, 20, 50)], step_m=1.5, seed=1)
    return Topology(keyframes(a, b, poses=poses, odometry=odometry), radius=5.0)


@pytest.mark.parametrize("mode", ["odometry", "odometry, rows far apart", "plain", "frames", "half a map in frames"])
def test_sparse_filter_equals_explicit_matrices(mode, monkeypatch):
    if mode.endswith("far apart"):
        monkeypatch.setattr("vpr_ros.recognition.filter.COUNTED", 0)
    top = two_drives(poses=mode != "frames", odometry=mode != "frames")
    if mode.startswith("half"):
        world = World(4)
        a = keyframes(drive(world, [(0, 0, 60)], step_m=2), drive(world, [(0, 20, 50)], step_m=1.5, seed=1))
        a.T_map_base[20, 0, 3] = a.T_odom_base[20, 0, 3] = np.nan
        top = Topology(a, radius=5.0)
        assert set(top.kinds) == {0, 2}
    sparse, naive = TopologicalFilter(top, CONFIG), NaiveFilter(top, CONFIG)
    rng = np.random.default_rng(0)
    for step in range(40):
        motion = Motion(None)
        if mode.startswith(("odometry", "half")) and step % 9:
            motion = Motion(0.7, shift_m=[None, 2.1, 2.3, -1.9][step % 4])
        novelty = rng.uniform()
        sparse.predict(motion, novelty)
        naive.predict(motion, novelty)
        rows = rng.choice(top.n, 8, replace=False)
        log_ratios, floor = rng.normal(0, 2, 8), -rng.uniform(0, 1)
        sparse.update(rows, log_ratios, floor)
        naive.update(rows, log_ratios, floor)
        np.testing.assert_allclose(sparse.belief(np.arange(top.n)), naive.belief(), atol=1e-9)
        assert sparse.off == pytest.approx(naive.off, abs=1e-9)
        assert sparse.off + sparse.uniform + sparse.excess.sum() == pytest.approx(1.0, abs=1e-9)


def test_belief_moves_with_the_odometry():
    top = two_drives()
    belief = TopologicalFilter(top)
    for i in range(12):
        belief.predict(Motion(2.0, shift_m=2.0))
        belief.update(np.array([4 + i]), np.array([6.0]), -1.0)
    before = float(belief.rows[belief.excess.argmax()])
    for _ in range(5):  # no images that say anything
        belief.predict(Motion(2.0, shift_m=2.0))
    assert belief.rows[belief.excess.argmax()] - before == pytest.approx(5, abs=1)


def test_driving_beyond_the_end_of_the_drive_leaves_the_map():
    top = Topology(keyframes(drive(World(5), [(0, 0, 60)], step_m=2)), radius=5.0)
    belief = TopologicalFilter(top)
    belief.update(np.array([top.n - 2]), np.array([12.0]), -2.0)
    off = belief.off
    for _ in range(4):
        belief.predict(Motion(2.0, shift_m=2.0))
    assert off < 0.1 and belief.off > 0.7


def test_standing_still_changes_nothing():
    top = two_drives()
    belief = TopologicalFilter(top)
    belief.update(np.array([7]), np.array([9.0]), -1.0)
    before = belief.belief(np.arange(top.n))
    for _ in range(1000):
        belief.predict(Motion(0.0), novelty=0.0)
    np.testing.assert_allclose(belief.belief(np.arange(top.n)), before, atol=1e-6)


def test_pruning_loses_no_mass_and_little_truth():
    top = two_drives()
    exact, pruned = TopologicalFilter(top, CONFIG), TopologicalFilter(top, FilterConfig(max_active=12))
    rng = np.random.default_rng(1)
    for i in range(20):
        # The true place moves on by one keyframe; three others are random.
        rows = np.unique(np.r_[3 + i, rng.choice(top.n, 3)])
        ratios = np.where(rows == 3 + i, 4.0, 0.5)
        for belief in (exact, pruned):
            belief.predict(Motion(2.0, shift_m=2.0))
            belief.update(rows, ratios, -1.0)
        assert pruned.off + pruned.uniform + pruned.excess.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(pruned.belief(np.arange(top.n)), exact.belief(np.arange(top.n)), atol=0.02)


def test_a_road_of_stretches_of_several_drives_is_followed():
    """Three drives of one street, of which only every third stretch of ten keyframes is left, each of another drive."""
    world = World(4)
    frames = keyframes(*(drive(world, [(0, 0, 180)], step_m=2, seed=seed) for seed in range(3)))
    along = np.concatenate([np.arange(n) for n in np.bincount(frames.sessions)[1:]])
    left = frames.select((along // 10) % 3 == frames.sessions - 1)
    top = Topology(left, radius=10.0)
    filtered = TopologicalFilter(top, CONFIG)
    x = np.argsort(left.T_map_base[:, 0, 3])
    filtered.update(np.array([x[0]]), np.array([20.0]), -20.0)
    for _ in range(60):  # two metres at a time, without any further look
        filtered.predict(Motion(2.0, shift_m=2.0))
    assert filtered.off < 0.45 and filtered.excess.sum() > 0.35  # the model's 1 / 200 m leaves 0.4 off the map
    mean_m = np.average(left.T_map_base[filtered.rows, 0, 3], weights=filtered.excess)
    assert 90 < mean_m - left.T_map_base[x[0], 0, 3] < 125
