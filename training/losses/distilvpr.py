"""DistilVPR's relational losses in three geometries, as its paper prints them and as its code computes them.

Readings (METHODS sections 0.9, 0.10, 3.4 to 3.6):

| | paper | released |
|---|---|---|
| self, Euclidean and hyperbolic | plain distances | each side in units of its mean over pairs |
| self, second term | cosine of every pair (`self_cosine`) | angle of every triple (`self_angle`), as in RKD |
| hyperbolic distance | exact for any length | clamps and projection: saturates for features longer than about 12 |
| cross | gradient through both matrices | the teacher–student matrix is detached |

The paper does not specify its loss ℓ and sums over pairs; both readings use the code's: smooth L1 for the self terms,
mean squared error for the cross terms, each the mean over all entries, so that a weight does not depend on the batch.

The cross terms are redundant: on unit vectors the Euclidean and the hyperbolic distance are functions of the cosine
alone (|s - t|² = 2 - 2 cos; at unit length hyperbolic ≈ 2.06 Euclidean, correlation 0.99999), so the three terms differ
only in the weights of near and far pairs. The released `self_hyperbolic` of long features is constant, without a
gradient.
"""

from collections.abc import Collection
from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from vpr_ros.errors import VprError
from vpr_ros.training.losses.poincare import geodesics, released_geodesics
from vpr_ros.training.losses.relations import (
    Terms,
    angle_loss,
    cosines,
    distances,
    huber,
    in_float32,
    relative,
    same_width,
    unit,
    weighted_mean,
)

Reading = Literal["paper", "released"]
Direction = Literal["ts-ss", "tt-ts"]


def _released(reading: Reading) -> bool:
    if reading not in get_args(Reading):
        raise VprError(f"reading {reading!r} of DistilVPR is not known: choose {' or '.join(get_args(Reading))}")
    return reading == "released"


@in_float32
def self_terms(
    student: Tensor,
    teacher: Tensor,
    weights: Tensor | None = None,
    *,
    reading: Reading = "paper",
    curvature: float = 0.1,
) -> Terms:
    """Self-agent terms (paper: tt–ss): relations among the student's samples against those among the teacher's.

    Embeddings (B, D) and (B, D') are not normalised, and widths may differ. Each term is 0 when student = teacher.
    The paper reading compares plain distances: for a student that cannot reach the teacher's scale (unit descriptors
    without a head), use the released reading or `relations`.
    """
    s, t = distances(student), distances(teacher)
    if _released(reading):
        hyperbolic_s = released_geodesics(student, curvature=curvature)
        hyperbolic_t = released_geodesics(teacher, curvature=curvature)
        return {
            "self_euclidean": huber(relative(s, weights), relative(t, weights), weights),
            "self_angle": angle_loss(s, t, weights),
            "self_hyperbolic": huber(relative(hyperbolic_s, weights), relative(hyperbolic_t, weights), weights),
        }
    length_s, length_t = student.norm(dim=1), teacher.norm(dim=1)
    return {
        "self_euclidean": huber(s, t, weights),
        "self_cosine": huber(cosines(student), cosines(teacher), weights),
        "self_hyperbolic": huber(
            geodesics(s, length_s, length_s, curvature=curvature),
            geodesics(t, length_t, length_t, curvature=curvature),
            weights,
        ),
    }


@in_float32
def cross_terms(
    student: Tensor,
    teacher: Tensor,
    weights: Tensor | None = None,
    *,
    reading: Reading = "paper",
    curvature: float = 0.1,
    directions: Collection[Direction] = ("ts-ss",),
) -> Terms:
    """Cross-agent terms of unit embeddings (B, D), with distances between teacher and student.

    ts-ss: student pairs against teacher–student pairs: `cross_euclidean`, `cross_cosine`, `cross_hyperbolic`.
    tt-ts (equation 5's other direction, weight 0 as released): teacher pairs against teacher–student pairs:
    `cross_tt_ts_euclidean` and so on; the gradient runs through teacher–student pairs in both readings.
    The cosine is a similarity, as in the paper's equation 9, although it is called a distance there. The diagonal is
    included: ts-ss compares a student's distance to itself, 0, with that to the teacher's embedding of the same sample.
    So the paper's reading also pulls each student embedding to its teacher's; detached, as released, that entry has no
    gradient, and the distances among students are only moved towards the current ones to the teacher. Every term is 0
    at student = teacher.
    """
    released = _released(reading)
    known = get_args(Direction)
    unknown = set(directions) - set(known)
    if unknown:
        raise VprError(f"direction {sorted(unknown)[0]!r} of DistilVPR is not known: choose {' or '.join(known)}")
    same_width(student, teacher, "DistilVPR's cross-agent loss")
    s, t = unit(student), unit(teacher)
    between = _geometries(t, s, released, curvature)
    terms = {}
    if "ts-ss" in directions:
        for name, inner in _geometries(s, None, released, curvature).items():
            target = between[name].detach() if released else between[name]
            terms[f"cross_{name}"] = _squares(inner, target, weights)
    if "tt-ts" in directions:
        for name, inner in _geometries(t, None, released, curvature).items():
            terms[f"cross_tt_ts_{name}"] = _squares(between[name], inner, weights)
    return terms


def _squares(one: Tensor, other: Tensor, weights: Tensor | None) -> Tensor:
    """Mean squared difference of relations (N, N)."""
    return F.mse_loss(one, other) if weights is None else weighted_mean((one - other).square(), weights)


def _geometries(x: Tensor, y: Tensor | None, released: bool, curvature: float) -> dict[str, Tensor]:
    """Relations (N, M) of unit rows x to unit rows y, or of x to itself, in the three geometries."""
    euclidean = distances(x, y)
    if released:
        hyperbolic = released_geodesics(x, y, curvature=curvature)
    else:
        other = x if y is None else y
        hyperbolic = geodesics(euclidean, x.norm(dim=1), other.norm(dim=1), curvature=curvature)
    return {"euclidean": euclidean, "cosine": cosines(x, y), "hyperbolic": hyperbolic}
