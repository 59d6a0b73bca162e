"""AdaFusion's own recall: a frame asks the union of two runs, itself left out (METHODS §5; Lai et al., RA-L 2022).

Easier than AR@1, and not to be compared with it: the neighbours of a frame in its own run, seen a moment earlier in the
same light, are right answers too.
"""

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.frame_columns import FrameColumns
from vpr_ros.evaluation.protocols.run_pairs import PairRecalls, PairResult
from vpr_ros.evaluation.ranking import best_distances, distances, first_ranks, near


def union_recall(
    embeddings: np.ndarray,
    positions_m: np.ndarray,
    runs: np.ndarray,
    areas: np.ndarray | None = None,
    *,
    radius_m: float = 25.0,
    conditions: np.ndarray | None = None,
    measure: str = "l1",
) -> PairRecalls:
    """Recall over unordered run pairs of an area, every frame of both runs asking the other frames of both.

    Arguments as for `run_pairs`; embeddings are compared raw by L1 distance unless another `measure` is named. A frame
    with no other one within `radius_m` is skipped. `ar1` is the mean of Recall@1 over pairs.
    """
    columns = FrameColumns.checked(embeddings, positions_m, runs, areas, conditions, radius_m)
    pairs = []
    for area, names in columns.runs_of_areas():
        for first, one in enumerate(names):
            for other in names[first + 1 :]:
                members = np.concatenate([columns.members(area, one), columns.members(area, other)])
                rows, xy = columns.embeddings[members], columns.positions_m[members]
                found, tie = distances(rows, rows, measure)
                right = near(xy, xy, radius_m)
                np.fill_diagonal(found, np.inf)
                np.fill_diagonal(right, False)
                pairs.append(
                    PairResult(
                        area,
                        one,
                        other,
                        columns.condition(area, one),
                        columns.condition(area, other),
                        len(members) - 1,
                        first_ranks(found, right, tie),
                        best_distances(found, measure),
                    )
                )
    result = PairRecalls(
        tuple(pairs),
        measure,
        f"A match is right within {radius_m:g} m of the query, in the union of two runs without the query itself.",
        kind="unordered",
    )
    if not result.counted:
        raise VprError(f"no frame has another one within {radius_m:g} m: are the positions of an area in one frame?")
    return result
