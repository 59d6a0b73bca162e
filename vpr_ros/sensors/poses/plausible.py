"""Which positions of a stream belong together: what no vehicle can reach from the others is left out."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.sensors.stamps import JUMP_NS

_TRACKS = 20  # that are followed at once


@dataclass(slots=True)
class _Track:
    """Readings that can follow one another."""

    rows: list[int]

    def reaches(self, row: int, positions, stamps_ns, received_ns, speed_mps: float, slack_m: float) -> bool:
        last = self.rows[-1]
        if stamps_ns[row] < stamps_ns[last] - JUMP_NS:  # a looped bag begins again, anywhere
            return True
        # A queue that is emptied at once says nothing in its receive times, a clock that stands nothing in its stamps.
        seconds = max(stamps_ns[row] - stamps_ns[last], received_ns[row] - received_ns[last], 0) * 1e-9
        return float(np.linalg.norm(positions[row] - positions[last])) <= slack_m + speed_mps * seconds


def plausible(
    positions: np.ndarray, stamps_ns: np.ndarray, received_ns: np.ndarray, speed_mps: float, slack_m: float
) -> np.ndarray:
    """(N,) bool: the largest set of positions (N, D), in metres and in order of arrival, that one vehicle can have.

    Each is within `slack_m` and what `speed_mps` allows of the one before it. Of sets of equal size the later counts:
    receivers begin with what they do not know.
    """
    tracks: list[_Track] = []
    for row in range(len(positions)):
        for track in sorted(tracks, key=lambda t: -len(t.rows)):
            if track.reaches(row, positions, stamps_ns, received_ns, speed_mps, slack_m):
                track.rows.append(row)
                break
        else:
            if len(tracks) == _TRACKS:
                tracks.remove(min(tracks, key=lambda t: len(t.rows)))
            tracks.append(_Track([row]))
    keep = np.zeros(len(positions), bool)
    if tracks:
        keep[max(tracks, key=lambda t: (len(t.rows), t.rows[0])).rows] = True
    return keep
