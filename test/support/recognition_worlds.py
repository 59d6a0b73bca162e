"""Simulated drives at descriptor level: smooth random fields along streets, seen under other conditions."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.geometry import planar_transform
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.recognition.places import Place

DIM = 64
WAVES = 160
STREET_SPACING_M = 1000.0


class World:
    """Streets are straight lines 1000 m apart; a street's look is a random field over its arc length."""

    def __init__(self, seed: int, length_m: float = 6.0):
        self.seed, self.length_m = seed, length_m
        self.mean = np.random.default_rng([seed, 1]).normal(size=DIM) / np.sqrt(DIM)
        self.alias: dict[int, tuple[int, float, float]] = {}  # street -> (looks like street, from, to)

    def field(self, street: int, s: np.ndarray, condition: int = 0) -> np.ndarray:
        """Vectors (N, DIM) of about unit length; neighbours within length_m are alike."""
        rng = np.random.default_rng([self.seed, 2, street, condition])
        w = rng.normal(size=WAVES) / self.length_m
        phase = rng.uniform(0, 2 * np.pi, WAVES)
        a = rng.normal(size=(WAVES, DIM)) * np.sqrt(2.0 / (WAVES * DIM))
        return np.cos(np.outer(s, w) + phase) @ a

    def see(self, street, s, condition=0, change=0.0, noise=0.1, rng=None) -> np.ndarray:
        """Unit descriptors (N, DIM) fp16 of views at arc lengths s (N,) of streets (N,)."""
        street, s = np.broadcast_to(street, np.shape(s)), np.asarray(s, dtype=float)
        rng = rng or np.random.default_rng([self.seed, 3, condition])
        out = np.empty((len(s), DIM))
        shift = np.random.default_rng([self.seed, 4, condition]).normal(size=DIM) / np.sqrt(DIM)
        for one in np.unique(street):
            mine = street == one
            look = self.field(int(one), s[mine])
            if int(one) in self.alias:
                twin, low, high = self.alias[int(one)]
                inside = ((s[mine] >= low) & (s[mine] <= high))[:, None]
                look = np.where(inside, self.field(twin, s[mine]), look)
            out[mine] = look + change * self.field(int(one), s[mine], condition)
        out += 0.7 * self.mean + 0.5 * change * shift + noise * rng.normal(size=out.shape) / np.sqrt(DIM)
        return (out / np.linalg.norm(out, axis=1, keepdims=True)).astype(np.float16)


@dataclass
class Drive:
    street: np.ndarray
    s: np.ndarray
    stamps_ns: np.ndarray
    T_map_base: np.ndarray
    T_odom_base: np.ndarray
    descriptors: np.ndarray


def drive(world, pieces, step_m=1.0, rate_hz=10.0, condition=0, change=0.0, noise=0.1, drift=0.02, seed=0, start_s=0.0):
    """A drive over `pieces` (street, from, to); the robot turns up at each piece's start, odometry runs on straight."""
    street, s = [], []
    for one, low, high in pieces:
        n = max(1, int(round(abs(high - low) / step_m)))
        s.append(np.linspace(low, high, n, endpoint=False))
        street.append(np.full(n, one))
    street, s = np.concatenate(street), np.concatenate(s)
    rng = np.random.default_rng([world.seed, 5, condition, seed])
    moved = np.r_[0.0, np.diff(s)]
    moved[np.r_[True, np.diff(street) != 0]] = step_m
    odom_x = np.cumsum(moved * (1 + drift) + rng.normal(0, 0.02, len(s)) * (moved != 0))
    odom_yaw = np.cumsum(rng.normal(0, 1e-3, len(s)))
    T_map = np.stack([planar_transform(x, STREET_SPACING_M * y, 0.0) for x, y in zip(s, street, strict=True)])
    T_odom = np.stack([planar_transform(x, 0.0, yaw) for x, yaw in zip(odom_x, odom_yaw, strict=True)])
    stamps = ((start_s + np.arange(1, len(s) + 1) / rate_hz) * 1e9).astype(np.int64)
    return Drive(street, s, stamps, T_map, T_odom, world.see(street, s, condition, change, noise, rng))


def keyframes(*drives, poses=True, odometry=True) -> Keyframes:
    """Map of one session per drive."""
    n = sum(len(d.s) for d in drives)
    nan = np.full((n, 4, 4), np.nan)
    return Keyframes(
        ids=np.arange(n) * 3 + 7,
        sessions=np.repeat(np.arange(len(drives)) + 1, [len(d.s) for d in drives]),
        stamps_ns=np.concatenate([d.stamps_ns for d in drives]),
        T_map_base=np.concatenate([d.T_map_base for d in drives]) if poses else nan,
        T_odom_base=np.concatenate([d.T_odom_base for d in drives]) if odometry else nan,
        descriptors=np.concatenate([d.descriptors for d in drives]),
    )


def run(recogniser, query, odometry=True):
    """All recognitions of a drive."""
    return [
        recogniser.recognise(int(t), v, T if odometry else None)
        for t, v, T in zip(query.stamps_ns, query.descriptors, query.T_odom_base, strict=True)
    ]


def correct(recognitions, query, frames, radius=10.0):
    """Whether the best place lies within the radius, per query, and whether the query is on the map."""
    rows = np.array([r.best.row if r.best else -1 for r in recognitions])
    truth = frames.T_map_base[:, :3, 3]
    position = query.T_map_base[:, :3, 3]
    right = (rows >= 0) & (np.linalg.norm(truth[rows] - position, axis=1) <= radius)
    on_map = np.array([np.linalg.norm(truth - p, axis=1).min() <= radius for p in position])
    return right, on_map


def believed(posterior, evidence=9.0, shortfall=0.0):
    """A place that the filter believes in so much, in the middle of a large map."""
    return Place(0, posterior, posterior, 0.02, evidence, shortfall)


def label_by_pose(frames: Keyframes, T_map_query: np.ndarray, radius_m: float) -> list[np.ndarray]:
    """Rows of the keyframes within `radius_m` of each query pose (M, 4, 4)."""
    gaps = np.linalg.norm(T_map_query[:, None, :3, 3] - frames.T_map_base[None, :, :3, 3], axis=2)
    return [np.flatnonzero(row <= radius_m) for row in gaps]
