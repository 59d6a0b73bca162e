"""In which order keyframes can go, so that what stays answers for them as well as it can."""

import heapq
from collections.abc import Iterator

import numpy as np

from vpr_ros.place_map.thinning.near import Near


def removals(near: Near) -> Iterator[int]:
    """Rows of keyframes in the order in which they can go; it ends where another one would leave a hole.

    Every keyframe, gone or not, is a view that the map shall go on answering: by the neighbour that is most alike of
    those that stay. The next to go is the one without which the sum of these similarities falls least, so that views
    that others resemble go before the only night or the only rain; the lower row of two that lose the same. A view
    without any neighbour that stays would be a hole.

    What a removal costs never falls while others go (the sum is submodular), so that most costs need not be computed
    anew: a queue of former ones holds lower bounds.
    """
    starts, rows, similarities = near.starts, near.rows, near.similarities
    ends, stays = starts[1:], np.ones(len(near), dtype=np.bool_)
    best, second = starts[:-1].copy(), starts[:-1] + 1  # of each view, as positions in `rows`; its end: there is none
    beyond = np.append(similarities, -np.inf)  # the last row's end is a position, too

    def lost(row: int) -> float:
        views = rows[starts[row] : ends[row]]
        views = views[rows[best[views]] == row]
        if (second[views] == ends[views]).any():
            return np.inf
        return float((similarities[best[views]] - similarities[second[views]]).sum())

    alone = second == ends
    each = np.where(alone, np.inf, similarities[best] - beyond[second])
    bounds = np.bincount(rows[best], weights=each, minlength=len(near))
    queue = [(bound, row) for row, bound in enumerate(bounds.tolist()) if np.isfinite(bound)]
    heapq.heapify(queue)
    while queue:
        _, row = heapq.heappop(queue)
        now = lost(row), row
        if not np.isfinite(now[0]):
            continue
        if queue and now > queue[0]:
            heapq.heappush(queue, now)
            continue
        stays[row] = False
        views = rows[starts[row] : ends[row]]
        of_best = rows[best[views]] == row
        for view in views[of_best | (rows[np.minimum(second[views], len(rows) - 1)] == row)].tolist():
            if rows[best[view]] == row:
                best[view] = second[view]
            position = second[view] + 1
            while position < ends[view] and not stays[rows[position]]:
                position += 1
            second[view] = min(position, ends[view])
        yield row
