"""Distinct places out of a belief over keyframes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vpr_ros.recognition.filter import TopologicalFilter
from vpr_ros.recognition.topology import Topology
from vpr_ros.recognition.types import Hypothesis


@dataclass(frozen=True, slots=True)
class Place:
    """A local maximum of the belief, at `row`."""

    row: int
    posterior: float  # of the keyframes within the radius
    vicinity: float  # of those within twice the radius: what cannot be told from the place as another one
    before: float  # the same a priori, when nothing is known yet
    evidence: float  # what this frame alone says for it: log-likelihood ratio against being off the map
    shortfall: float = 0.0  # of the last frames' evidence, against the drive's yardstick
    fall: float = 0.0  # of the best place's belief, against the last frames'
    untempered: float = math.inf  # log-odds of being on the map still: by the way, and by frames that count in full


class FrameEvidence(NamedTuple):
    """What one frame says, whatever was before: log-likelihood ratios against being off the map."""

    log_ratios: Mapping[int, float]  # of the retrieved rows
    floor: float  # of every other keyframe

    def of(self, rows: np.ndarray) -> float:
        """Of the best of some keyframes (M,)."""
        return max((self.log_ratios.get(row, self.floor) for row in rows.tolist()), default=self.floor)


def distinct_places(
    belief: TopologicalFilter, frame: FrameEvidence, max_places: int = 10, ignore_below: float = 1e-5
) -> list[Place]:
    """Places, largest posterior first, and what the last frame says for each.

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
        vicinity = top.near(row, 2 * top.radius)
        disc = np.linalg.norm(top.positions[vicinity] - top.positions[row], axis=1) <= top.radius
        beliefs = belief.belief(vicinity)
        before = (1 - belief.config.prior_off_map) * len(vicinity) / top.n
        blocked.update(vicinity.tolist())
        places.append(Place(row, float(beliefs[disc].sum()), float(beliefs.sum()), before, frame.of(vicinity[disc])))
    return sorted(places, key=lambda place: -place.posterior)


def named(
    topology: Topology, places: Sequence[Place], p: np.ndarray, similarities: np.ndarray
) -> tuple[Hypothesis, ...]:
    """Places (M,) with their probabilities (M,) and similarities (M,), by the keyframes that name them."""
    poses = topology.T_map_base
    return tuple(
        Hypothesis(
            keyframe_id=int(topology.ids[place.row]),
            row=place.row,
            probability=float(p[i]),
            similarity=float(similarities[i]),
            T_map_base=poses[place.row].copy() if np.isfinite(poses[place.row, 0, 0]) else None,
            stamp_ns=int(topology.stamps_ns[place.row]),
        )
        for i, place in enumerate(places)
    )


def supports(topology: Topology, retrieved: np.ndarray, row: int) -> bool:
    """Whether a frame's own retrieval (k,) contains a keyframe of the place at `row`."""
    return bool(np.isin(topology.near(row, topology.radius), retrieved).any())
