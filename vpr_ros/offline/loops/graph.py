"""The pose graph of a drive, of the mapped drives that it meets and of itself: odometry within drives, closures between
frames and keyframes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.configuration import MotionConfig
from vpr_ros.offline.loops.chains import Chain, Closure, chains_of, laid
from vpr_ros.offline.loops.frames import LoopFrame
from vpr_ros.offline.pose_graph import Edge, EdgeKind, OdometryNoise, odometry_edges, seen_from_second
from vpr_ros.place_map import Keyframes
from vpr_ros.runtime.answer import place_covariance


@dataclass(frozen=True)
class GraphConfig:
    """How far odometry is trusted, and what is no step of it but a jump."""

    noise: OdometryNoise = field(default_factory=OdometryNoise)
    motion: MotionConfig = field(default_factory=MotionConfig)


@dataclass(frozen=True)
class Graph:
    """Vertex v stands at `poses[v]`: frames of the drive first, in its order, then keyframes, by session and stamp.

    A frame that became a keyframe is the frame's vertex alone. `fixed` are the vertices that give the frame: those of
    keyframes with a pose in the map, or one of the drive where there are none.
    """

    poses: np.ndarray  # (V, 4, 4)
    stamps_ns: np.ndarray  # (V,)
    keyframe_ids: np.ndarray  # (V,) -1 for frames of the drive that became none
    sessions: np.ndarray  # (V,) -1 for frames of the drive
    fixed: np.ndarray  # (V,) bool
    parts: np.ndarray  # (V,) vertices of one part are joined by steps of odometry
    edges: tuple[Edge, ...]

    def count(self, kind: EdgeKind) -> int:
        """How many edges are of a kind."""
        return sum(edge.kind == kind for edge in self.edges)


def build_graph(
    frames: Sequence[LoopFrame],
    keyframes: Keyframes,
    radius_m: float,
    config: GraphConfig | None = None,
    places: bool = True,
) -> Graph | None:
    """The graph; None where no closure joins a frame with odometry and a keyframe with a pose.

    A drive is cut where odometry jumps, and stretches without any closure are left out: nothing holds them. Vertices
    of keyframes stand at T_map_base (T_odom_base where there is none), those of the drive where its odometry has them
    after each stretch was laid at its first closure, a metric one if it has any; a drive that meets only itself stands
    where its odometry has it. A closure without measured pose says that the query stands at its keyframe, with standard
    deviations of the place radius on the ground and twice that in height, 0.3 rad of tilt and 0.5 rad of heading:
    frames of one visit err together, so a place counts as twice as wide as for a pose of its own. Without `places`,
    such closures are left out.
    """
    config = config or GraphConfig()
    estimates = np.where(keyframes.has_pose[:, None, None], keyframes.T_map_base, keyframes.T_odom_base)
    own = {f.keyframe: n for n, f in enumerate(frames) if f.keyframe is not None and f.T_odom_base is not None}
    foreign = np.isfinite(estimates).all(axis=(1, 2)) & ~np.isin(keyframes.ids, list(own))
    # Nodes: the frames, then the rows of the keyframes.
    node_of = own | {int(keyframes.ids[row]): len(frames) + int(row) for row in np.flatnonzero(foreign)}
    closures = [
        Closure(node_of[f.keyframe_id], n, f)
        for n, f in enumerate(frames)
        if f.T_odom_base is not None and f.keyframe_id in node_of and (places or f.metric)
    ]
    chains = [
        *_drive_chains(frames, config),
        *_mapped_chains(keyframes, np.flatnonzero(foreign), estimates, len(frames), config),
    ]
    placed = laid(chains, closures)
    if not placed:
        return None
    vertex_of = {int(node): v for v, node in enumerate(np.concatenate([chain.nodes for chain in placed]))}
    edges: list[Edge] = []
    for chain in placed:
        vertices = np.array([vertex_of[node] for node in chain.nodes.tolist()])
        edges += odometry_edges(vertices, chain.odometry, config.noise)
    place = place_covariance(2 * radius_m)
    for closure in closures:
        if closure.older in vertex_of and closure.newer in vertex_of:
            edges.append(_edge(closure, vertex_of, place))
    nodes = np.array(list(vertex_of), np.int64)
    in_map = nodes >= len(frames)
    rows = nodes[in_map] - len(frames)
    fixed = np.zeros(len(nodes), bool)
    fixed[in_map] = keyframes.has_pose[rows]
    fixed[0] |= not fixed.any()
    of_drive = [frames[node] for node in nodes[~in_map]]
    became = [-1 if f.keyframe is None else f.keyframe for f in of_drive]
    return Graph(
        np.concatenate([chain.poses for chain in placed]),
        np.concatenate([np.array([f.stamp_ns for f in of_drive], np.int64), keyframes.stamps_ns[rows]]),
        np.concatenate([np.array(became, np.int64), keyframes.ids[rows]]),
        np.concatenate([np.full(len(of_drive), -1, np.int64), keyframes.sessions[rows]]),
        fixed,
        np.repeat(np.arange(len(placed)), [len(chain.nodes) for chain in placed]),
        tuple(edges),
    )


def _edge(closure: Closure, vertex_of: dict[int, int], place: np.ndarray) -> Edge:
    ends, frame = (vertex_of[closure.older], vertex_of[closure.newer]), closure.frame
    if frame.T_keyframe_query is None or frame.covariance is None:
        return Edge(*ends, np.eye(4), place, "place")
    covariance = seen_from_second(frame.T_keyframe_query, frame.covariance)
    return Edge(*ends, frame.T_keyframe_query, covariance, "metric")


def _drive_chains(frames: Sequence[LoopFrame], config: GraphConfig) -> list[Chain]:
    posed = [(n, f.stamp_ns, f.T_odom_base) for n, f in enumerate(frames) if f.T_odom_base is not None]
    nodes = np.array([n for n, _, _ in posed], np.int64)
    poses = np.array([T for _, _, T in posed]).reshape(-1, 4, 4)
    return chains_of(nodes, np.array([stamp for _, stamp, _ in posed], np.int64), poses, None, config.motion)


def _mapped_chains(
    keyframes: Keyframes, rows: np.ndarray, estimates: np.ndarray, first_node: int, config: GraphConfig
) -> list[Chain]:
    """By session; steps come from odometry where a whole session has it, else from the poses in the map."""
    chains: list[Chain] = []
    for session in np.unique(keyframes.sessions[rows]):
        own = rows[keyframes.sessions[rows] == session]
        own = own[np.argsort(keyframes.stamps_ns[own], kind="stable")]
        odometry = keyframes.T_odom_base[own]
        odometry = odometry if np.isfinite(odometry).all() else estimates[own]
        chains += chains_of(first_node + own, keyframes.stamps_ns[own], odometry, estimates[own], config.motion)
    return chains
