"""In which order keyframes can go, so that what stays answers for them as well as it can."""

import heapq
from collections.abc import Iterator

import numpy as np

from vpr_ros.place_map.thinning.near import Near


def removals(near: Near, stretches: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of keyframes (M,) that can go next; it ends where any other would leave a hole.

    Every keyframe, gone or not, is a view that the map shall go on answering: by the neighbour that is most alike of
    those that stay. The next to go are those without which the sum of these similarities falls least for each of them,
    so that views that others resemble go before the only night or the only rain; of equal ones the first. Similarities
    that are capped say that a view is answered, however alike more may be: else the most peculiar drives would stay,
    which no other resembles, and not those that answer most. A view without any neighbour that stays would be a hole.

    Whole stretches of a drive go first, as `stretches` (N,) numbers them: a recogniser follows the robot along a drive,
    and loses it in a map that changes drives every few metres. Where no stretch can go any more, single keyframes do.
    """
    stays = np.ones(len(near), dtype=np.bool_)
    for units in (np.unique(stretches, return_inverse=True)[1], np.arange(len(near))):
        for unit in _units(near, units, stays):
            gone = np.flatnonzero((units == unit) & stays)
            stays[gone] = False
            yield gone


def _units(near: Near, units: np.ndarray, stays: np.ndarray) -> Iterator[int]:
    """Numbers of the units that go next; the caller takes their rows out of the mask `stays` (N,) before it goes on.

    What a removal costs never falls while others go (the sum is submodular), so that most costs need not be computed
    anew: a queue of former ones holds lower bounds.
    """
    starts, rows, similarities = near.starts, near.rows, near.similarities
    ends, unit_of = starts[1:], units[rows]
    # Of each view the best neighbour that stays, and the best of another unit, as positions in `rows`; its end: none.
    best, second = starts[:-1].copy(), starts[:-1].copy()
    members = np.split(np.argsort(units, kind="stable"), np.cumsum(np.bincount(units))[:-1])

    def after(position: int, view: int, unit: int) -> int:
        """The next neighbour that stays and is not of a unit."""
        while position < ends[view] and (unit_of[position] == unit or not stays[rows[position]]):
            position += 1
        return position

    def cost(unit: int) -> float:
        """Of each keyframe of a unit; infinite where it would leave a hole."""
        own = members[unit][stays[members[unit]]]
        if not len(own):
            return np.inf
        seen = np.unique(np.concatenate([rows[starts[row] : ends[row]] for row in own]))
        seen = seen[unit_of[best[seen]] == unit]
        if (second[seen] == ends[seen]).any():
            return np.inf
        return float((similarities[best[seen]] - similarities[second[seen]]).sum()) / len(own)

    for view in range(len(near)):
        best[view] = after(int(starts[view]), view, -1)
        second[view] = after(int(best[view]) + 1, view, int(unit_of[best[view]]))
    queue = [(bound, unit) for unit in range(len(members)) if np.isfinite(bound := cost(unit))]
    heapq.heapify(queue)
    while queue:
        _, unit = heapq.heappop(queue)
        now = cost(unit), unit
        if not np.isfinite(now[0]):
            continue
        if queue and now > queue[0]:
            heapq.heappush(queue, now)
            continue
        yield unit
        seen = np.unique(np.concatenate([rows[starts[row] : ends[row]] for row in members[unit]]))
        lacking = unit_of[best[seen]] == unit
        lacking |= (second[seen] < ends[seen]) & (unit_of[np.minimum(second[seen], len(rows) - 1)] == unit)
        for view in seen[lacking].tolist():
            if unit_of[best[view]] == unit:
                best[view] = second[view]
            second[view] = after(int(second[view]) + 1, view, int(unit_of[best[view]]))
