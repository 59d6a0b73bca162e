"""DistilVPR's relational losses in three geometries, as its paper prints them and as its code computes them.

Readings (METHODS sections 0.9, 0.10, 3.4 to 3.6):

| | paper | released |
|---|---|---|
| self, Euclidean and hyperbolic | plain distances | each side in units of its mean over pairs |
| self, second term | cosine of every pair (`self_cosine`) | angle of every triple (`self_angle`), as in RKD |
| hyperbolic distance | exact for any length | clamps and projection: saturates for features longer than about 12 |
| cross | gradient through both matrices | the teacher–student matrix is detached |

The paper leaves its loss ℓ open and sums over pairs; both readings take the code's: smooth L1 for the self terms, mean
squared error for the cross terms, each the mean over all entries, so that a weight does not depend on the batch.

What is redundant: cross terms compare unit vectors, where the Euclidean and the hyperbolic distance are functions of
the cosine alone (|s - t|² = 2 - 2 cos; at unit length hyperbolic ≈ 2.06 Euclidean, correlation 0.99999). The three
therefore carry one piece of information and differ in how they weigh near against far pairs. What is dead: the
released `self_hyperbolic` of long features, which is constant with no gradient.
"""

from collections.abc import Collection

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
)

READINGS = ("paper", "released")
DIRECTIONS = ("ts-ss", "tt-ts")


def _released(reading: str) -> bool:
    if reading not in READINGS:
        raise VprError(f"reading {reading!r} of DistilVPR is not known: choose {' or '.join(READINGS)}")
    return reading == "released"


@in_float32
def self_terms(student: Tensor, teacher: Tensor, *, reading: str = "paper", curvature: float = 0.1) -> Terms:
    """Self-agent terms (paper: tt–ss): relations among the student's samples against those among the teacher's.

    Embeddings (B, D) and (B, D') are not normalised, and widths may differ. Each term is 0 when student = teacher.
    The paper reading compares plain distances: where the student cannot reach the teacher's scale (unit descriptors
    without a head), the released reading or `relations` serve better.
    """
    s, t = distances(student), distances(teacher)
    if _released(reading):
        hyperbolic_s = released_geodesics(student, curvature=curvature)
        hyperbolic_t = released_geodesics(teacher, curvature=curvature)
        return {
            "self_euclidean": huber(relative(s), relative(t)),
            "self_angle": angle_loss(s, t),
            "self_hyperbolic": huber(relative(hyperbolic_s), relative(hyperbolic_t)),
        }
    length_s, length_t = student.norm(dim=1), teacher.norm(dim=1)
    return {
        "self_euclidean": huber(s, t),
        "self_cosine": huber(cosines(student), cosines(teacher)),
        "self_hyperbolic": huber(
            geodesics(s, length_s, length_s, curvature=curvature), geodesics(t, length_t, length_t, curvature=curvature)
        ),
    }


@in_float32
def cross_terms(
    student: Tensor,
    teacher: Tensor,
    *,
    reading: str = "paper",
    curvature: float = 0.1,
    directions: Collection[str] = ("ts-ss",),
) -> Terms:
    """Cross-agent terms of unit embeddings (B, D): distances between teacher and student join in.

    ts-ss: student pairs against teacher–student pairs: `cross_euclidean`, `cross_cosine`, `cross_hyperbolic`.
    tt-ts (equation 5's other direction, weight 0 as released): teacher pairs against teacher–student pairs:
    `cross_tt_ts_euclidean` and so on; the gradient runs through teacher–student pairs in both readings.
    The cosine is a similarity, as in the paper's equation 9, although it is called a distance there. The diagonal
    counts: ts-ss compares a student's distance to itself, 0, with that to its own teacher. So the paper's reading also
    pulls each student to its teacher; detached, as released, that entry has no gradient, and the student can only
    move its inner distances towards those it happens to have to the teacher. Every term is 0 at student = teacher.
    """
    released = _released(reading)
    unknown = set(directions) - set(DIRECTIONS)
    if unknown:
        raise VprError(f"direction {sorted(unknown)[0]!r} of DistilVPR is not known: choose {' or '.join(DIRECTIONS)}")
    same_width(student, teacher, "DistilVPR's cross-agent loss")
    s, t = unit(student), unit(teacher)
    between = _geometries(t, s, released, curvature)
    terms = {}
    if "ts-ss" in directions:
        for name, inner in _geometries(s, None, released, curvature).items():
            target = between[name].detach() if released else between[name]
            terms[f"cross_{name}"] = F.mse_loss(inner, target)
    if "tt-ts" in directions:
        for name, inner in _geometries(t, None, released, curvature).items():
            terms[f"cross_tt_ts_{name}"] = F.mse_loss(between[name], inner)
    return terms


def _geometries(x: Tensor, y: Tensor | None, released: bool, curvature: float) -> dict[str, Tensor]:
    """Relations (N, M) of unit rows x to unit rows y, or of x to itself, in the three geometries."""
    euclidean = distances(x, y)
    if released:
        hyperbolic = released_geodesics(x, y, curvature=curvature)
    else:
        other = x if y is None else y
        hyperbolic = geodesics(euclidean, x.norm(dim=1), other.norm(dim=1), curvature=curvature)
    return {"euclidean": euclidean, "cosine": cosines(x, y), "hyperbolic": hyperbolic}


def distilvpr_terms(student: Tensor, teacher: Tensor, *, reading: str = "paper", curvature: float = 0.1) -> Terms:
    """All unweighted terms of DistilVPR-SC by name; `self_terms` and `cross_terms` say what each is.

    Published weights: λ_S (10 on Oxford, 1 on Boreas) per self term, 0.1 per cross term, and the task loss at 0.5.
    """
    return {
        **self_terms(student, teacher, reading=reading, curvature=curvature),
        **cross_terms(student, teacher, reading=reading, curvature=curvature),
    }
