"""Stretches of drives without jumps, and how closures lay them into one frame."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.configuration import MotionConfig
from vpr_ros.geometry import invert
from vpr_ros.offline.loops.frames import LoopFrame
from vpr_ros.recognition.motion import leap_m


@dataclass(frozen=True)
class Closure:
    """The frame `newer` of the drive was recognised at `older`, a frame of the drive or a keyframe of the map."""

    older: int
    newer: int
    frame: LoopFrame

    @property
    def T_older_newer(self) -> np.ndarray:
        """The measured pose (4, 4), or none apart."""
        T = self.frame.T_keyframe_query
        return np.eye(4) if T is None or not self.frame.metric else T


@dataclass(frozen=True)
class Chain:
    """A stretch of one drive without jumps: nodes (n,), where odometry had them, which drifts, and where they stand."""

    nodes: np.ndarray
    odometry: np.ndarray  # (n, 4, 4)
    poses: np.ndarray  # (n, 4, 4)
    in_map: bool  # `poses` are those of the map


def chains_of(
    nodes: np.ndarray, stamps_ns: np.ndarray, odometry: np.ndarray, poses: np.ndarray | None, config: MotionConfig
) -> list[Chain]:
    """Nodes (n,) of one drive in its order, cut where the clock goes back or the pose jumps; `poses` in the map."""
    if not len(nodes):
        return []
    elapsed_s = np.diff(stamps_ns) * 1e-9
    pairs = zip(odometry[:-1], odometry[1:], elapsed_s, strict=True)
    jumps = [leap_m(before, after, seconds, config) > 0 for before, after, seconds in pairs]
    cuts = np.flatnonzero((elapsed_s < 0) | np.array(jumps, dtype=bool)) + 1
    stand = odometry if poses is None else poses
    pieces = zip(np.split(nodes, cuts), np.split(odometry, cuts), np.split(stand, cuts), strict=True)
    return [Chain(*piece, poses is not None) for piece in pieces]


def laid(chains: Sequence[Chain], closures: Sequence[Closure]) -> list[Chain]:
    """The chains that closures hold together, in their order, each moved as one so that its first closure holds.

    First are those of the map, which stay, or where the drive meets none of them its longest chain with a closure. The
    first metric closure of a chain with one that is laid already counts, and the first of any kind where there is none.
    """
    chain_of = {node: at for at, chain in enumerate(chains) for node in chain.nodes.tolist()}
    row_of = {node: row for chain in chains for row, node in enumerate(chain.nodes.tolist())}
    ties = [(chain_of[c.older], chain_of[c.newer], c) for c in closures if c.older in chain_of and c.newer in chain_of]
    tied = {at for older, newer, _ in ties for at in (older, newer)}
    if not tied:
        return []
    placed = {at: chains[at] for at in tied if chains[at].in_map}
    if not placed:
        longest = max(tied, key=lambda at: len(chains[at].nodes))
        placed[longest] = chains[longest]
    while True:
        open_ties = [(o, n, c) for o, n, c in ties if (o in placed) != (n in placed)]
        if not open_ties:
            return [placed[at] for at in sorted(placed)]
        older, newer, closure = min(open_ties, key=lambda tie: not tie[2].frame.metric)
        at, held = (newer, older) if older in placed else (older, newer)
        known, moved = (closure.older, closure.newer) if held == older else (closure.newer, closure.older)
        T = closure.T_older_newer if held == older else invert(closure.T_older_newer)
        chain = chains[at]
        where = placed[held].poses[row_of[known]] @ T @ invert(chain.odometry[row_of[moved]])
        placed[at] = replace(chain, poses=where @ chain.odometry)
