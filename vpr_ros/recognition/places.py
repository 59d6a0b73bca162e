"""Distinct places out of a belief over keyframes."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.recognition.filter import TopologicalFilter
from vpr_ros.recognition.topology import Topology


@dataclass(frozen=True, slots=True)
class Place:
    """A local maximum of the belief: its best row, and the posterior summed over the keyframes within the radius."""

    row: int
    posterior: float


def distinct_places(belief: TopologicalFilter, max_places: int = 10, ignore_below: float = 1e-5) -> list[Place]:
    """Places, largest posterior first.

    Greedy from the highest keyframe down: its place sums all keyframes within the radius, and no other maximum within
    twice the radius is taken. So the summed discs never overlap, the sum over places is at most 1, and a neighbour of
    the best keyframe is never its rival. Radius in metres, or in frames within a session without poses.
    """
    top = belief.topology
    order = np.argsort(-belief.excess, kind="stable")
    blocked: set[int] = set()
    places: list[Place] = []
    for i in order:
        row = int(belief.rows[i])
        if belief.excess[i] < ignore_below or len(places) == max_places:
            break
        if row in blocked:
            continue
        posterior = float(belief.belief(top.near(row, top.radius)).sum())
        blocked.update(top.near(row, 2 * top.radius).tolist())
        places.append(Place(row, posterior))
    return sorted(places, key=lambda place: -place.posterior)


def supports(topology: Topology, retrieved: np.ndarray, row: int) -> bool:
    """Whether a frame's own retrieval (k,) contains a keyframe of the place at `row`."""
    return bool(np.isin(topology.near(row, topology.radius), retrieved).any())
