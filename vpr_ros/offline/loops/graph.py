"""The pose graph of a drive and of the mapped drives that it meets: odometry within drives, closures between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vpr_ros.configuration import FilterConfig, MotionConfig
from vpr_ros.geometry import invert, rotation_angle
from vpr_ros.offline.loops.frames import LoopFrame
from vpr_ros.place_map import Keyframes
from vpr_ros.recognition.motion import leap_m
from vpr_ros.runtime.answer import place_covariance

EdgeKind = Literal["odometry", "place", "metric"]


@dataclass(frozen=True)
class GraphConfig:
    """How far odometry is trusted: standard deviations of one step of `d` metres and `a` radians."""

    sigma_m: float = 0.02
    sigma_per_m: float = FilterConfig.sigma_per_m  # sigma_m + sigma_per_m d
    sigma_rad: float = 0.01
    sigma_per_rad: float = 0.1  # sigma_rad + sigma_per_rad a
    motion: MotionConfig = field(default_factory=MotionConfig)  # a faster step is a jump: no edge


@dataclass(frozen=True)
class Edge:
    """Vertex `second` as `first` sees it: T (4, 4) and the covariance (6, 6) x y z rotX rotY rotZ in the axes of
    `second`."""

    first: int
    second: int
    T: np.ndarray
    covariance: np.ndarray
    kind: EdgeKind


@dataclass(frozen=True)
class Graph:
    """Vertex v stands at `poses[v]`: frames of the drive first, in its order, then keyframes, by session and stamp."""

    poses: np.ndarray  # (V, 4, 4)
    stamps_ns: np.ndarray  # (V,)
    keyframe_ids: np.ndarray  # (V,) -1 for frames of the drive
    sessions: np.ndarray  # (V,) -1 likewise
    edges: tuple[Edge, ...]

    def count(self, kind: EdgeKind) -> int:
        """How many edges are of a kind."""
        return sum(edge.kind == kind for edge in self.edges)


@dataclass(frozen=True)
class _Chain:
    """A stretch of one drive without jumps: rows of its source, poses (n, 4, 4) in one frame that drifts."""

    rows: np.ndarray
    poses: np.ndarray


def build_graph(
    frames: Sequence[LoopFrame], keyframes: Keyframes, radius_m: float, config: GraphConfig | None = None
) -> Graph | None:
    """The graph; None where no closure joins a frame with odometry and a keyframe with a pose.

    A drive is cut where odometry jumps, and stretches without any closure are left out: nothing holds them. Vertices
    of keyframes stand at T_map_base (T_odom_base where there is none), those of the drive where its odometry has them
    after each stretch was laid at its first closure, a metric one if it has any. A closure without measured pose says
    that the query stands at its keyframe, with standard deviations of the place radius on the ground and twice that in
    height, 0.3 rad of tilt and 0.5 rad of heading: frames of one visit err together, so a place counts as twice as wide
    as for a pose of its own.
    """
    config = config or GraphConfig()
    estimates = np.where(keyframes.has_pose[:, None, None], keyframes.T_map_base, keyframes.T_odom_base)
    posed = np.flatnonzero(np.isfinite(estimates).all(axis=(1, 2)))
    row_of = dict(zip(keyframes.ids[posed].tolist(), posed.tolist(), strict=True))
    row_at = {  # of frames that close a loop, the row of their keyframe
        n: row_of[f.keyframe_id]
        for n, f in enumerate(frames)
        if f.T_odom_base is not None and f.keyframe_id is not None and f.keyframe_id in row_of
    }
    if not row_at:
        return None
    drive = [c for c in _drive_chains(frames, config) if np.isin(c.rows, list(row_at)).any()]
    mapped = [c for c in _mapped_chains(keyframes, estimates, config) if np.isin(c.rows, list(row_at.values())).any()]
    vertex_of_frame = {int(n): v for v, n in enumerate(np.concatenate([c.rows for c in drive]))}
    first = len(vertex_of_frame)
    vertex_of_row = {int(r): first + v for v, r in enumerate(np.concatenate([c.rows for c in mapped]))}

    place = place_covariance(2 * radius_m)
    edges = [e for chain in drive for e in _steps(chain, vertex_of_frame, config)]
    edges += [e for chain in mapped for e in _steps(chain, vertex_of_row, config)]
    for n, row in row_at.items():
        frame, ends = frames[n], (vertex_of_row[row], vertex_of_frame[n])
        if frame.T_keyframe_query is not None and frame.covariance is not None:
            turn = np.kron(np.eye(2), frame.T_keyframe_query[:3, :3].T)  # from the keyframe's axes to the query's
            edges.append(Edge(*ends, frame.T_keyframe_query, turn @ frame.covariance @ turn.T, "metric"))
        else:
            edges.append(Edge(*ends, np.eye(4), place, "place"))
    placed = [_laid(chain, frames, row_at, estimates) for chain in drive]
    rows = np.array(list(vertex_of_row), np.int64)
    stamps = [frames[n].stamp_ns for n in vertex_of_frame]
    none = np.full(first, -1, np.int64)
    return Graph(
        np.concatenate([*placed, estimates[rows]]),
        np.concatenate([np.array(stamps, np.int64), keyframes.stamps_ns[rows]]),
        np.concatenate([none, keyframes.ids[rows]]),
        np.concatenate([none, keyframes.sessions[rows]]),
        tuple(edges),
    )


def _drive_chains(frames: Sequence[LoopFrame], config: GraphConfig) -> list[_Chain]:
    posed = [(n, f.stamp_ns, f.T_odom_base) for n, f in enumerate(frames) if f.T_odom_base is not None]
    rows = np.array([n for n, _, _ in posed], np.int64)
    poses = np.array([T for _, _, T in posed]).reshape(-1, 4, 4)
    return _chains(rows, np.array([stamp for _, stamp, _ in posed], np.int64), poses, config)


def _mapped_chains(keyframes: Keyframes, estimates: np.ndarray, config: GraphConfig) -> list[_Chain]:
    """By session; steps come from odometry where a whole session has it, else from the poses in the map."""
    chains: list[_Chain] = []
    for session in np.unique(keyframes.sessions):
        rows = np.flatnonzero((keyframes.sessions == session) & np.isfinite(estimates).all(axis=(1, 2)))
        rows = rows[np.argsort(keyframes.stamps_ns[rows], kind="stable")]
        odometry = keyframes.T_odom_base[rows]
        poses = odometry if np.isfinite(odometry).all() else estimates[rows]
        chains += _chains(rows, keyframes.stamps_ns[rows], poses, config)
    return chains


def _chains(rows: np.ndarray, stamps_ns: np.ndarray, poses: np.ndarray, config: GraphConfig) -> list[_Chain]:
    """Cut where the clock goes back or the pose jumps."""
    if not len(rows):
        return []
    elapsed_s = np.diff(stamps_ns) * 1e-9
    jumps = [leap_m(a, b, dt, config.motion) > 0 for a, b, dt in zip(poses[:-1], poses[1:], elapsed_s, strict=True)]
    cuts = np.flatnonzero((elapsed_s < 0) | np.array(jumps, dtype=bool)) + 1
    return [_Chain(r, p) for r, p in zip(np.split(rows, cuts), np.split(poses, cuts), strict=True)]


def _steps(chain: _Chain, vertex_of: dict[int, int], config: GraphConfig) -> list[Edge]:
    relative = invert(chain.poses[:-1]) @ chain.poses[1:]
    metres = np.linalg.norm(relative[:, :3, 3], axis=1)
    radians = rotation_angle(np.eye(3), relative[:, :3, :3])
    sigma_m = config.sigma_m + config.sigma_per_m * metres
    sigma_rad = config.sigma_rad + config.sigma_per_rad * radians
    vertices = [vertex_of[int(row)] for row in chain.rows]
    covariances = [np.diag([m**2] * 3 + [r**2] * 3) for m, r in zip(sigma_m, sigma_rad, strict=True)]
    steps = zip(vertices[:-1], vertices[1:], relative, covariances, strict=True)
    return [Edge(a, b, T, covariance, "odometry") for a, b, T, covariance in steps]


def _laid(chain: _Chain, frames: Sequence[LoopFrame], row_at: dict[int, int], estimates: np.ndarray) -> np.ndarray:
    """The chain's poses (n, 4, 4), moved as one so that its first closure holds, its first metric one if it has any."""
    closing = [i for i, n in enumerate(chain.rows.tolist()) if n in row_at]
    at = next((i for i in closing if frames[chain.rows[i]].metric), closing[0])
    frame = frames[chain.rows[at]]
    T = np.eye(4) if frame.T_keyframe_query is None else frame.T_keyframe_query
    return estimates[row_at[int(chain.rows[at])]] @ T @ invert(chain.poses[at]) @ chain.poses
