"""Distances between embeddings taken to the Poincaré ball by the exponential map at its centre.

The ball of curvature -c has radius 1/r, r = sqrt(c); exp_0(v) = tanh(r|v|) v / (r|v|), and the distance of p and q is
(2/r) artanh(r |(-p) ⊕ q|), ⊕ the Möbius addition (METHODS section 3.6). So d(0, exp_0(v)) = 2|v|, and d goes to twice
the Euclidean distance as features or c become small.
"""

import torch
from torch import Tensor

from vpr_ros.training.losses.relations import distances


def geodesics(distance: Tensor, length: Tensor, other: Tensor, *, curvature: float) -> Tensor:
    """Hyperbolic distances (N, M) of exp_0(x_i) and exp_0(y_j), exact for features of any length.

    distance (N, M) are |x_i - y_j|, length (N,) and other (M,) are |x_i| and |y_j|. Points of long features lie
    closer to the rim than floating point can say, and 1 - c|p|² would come out as 0. That factor is
    sech²(r|v|), and with it the distance is the hyperbolic law of cosines for the sides A = 2r|x|, B = 2r|y|:

        sinh²(rd/2) = sinh²(D) + (sinh A / A)(sinh B / B)(r²|x - y|² - D²),   D = |A - B| / 2.

    e^{A+B} is taken out of both terms and put back as a sum after the logarithm, so nothing overflows.
    """
    r = curvature**0.5
    a, b = 2 * r * length.double()[:, None], 2 * r * other.double()
    half_gap = (a - b).abs() / 2
    apart = (r * distance.double()) ** 2 - half_gap**2
    along = torch.exp(-2 * torch.minimum(a, b)) * (torch.expm1(-2 * half_gap) / 2) ** 2
    m = (along + _shrunk(a) * _shrunk(b) * apart.clamp(min=0)).clamp(min=1e-60).sqrt()
    d = (a + b + 2 * torch.log(m + (m * m + torch.exp(-(a + b))).sqrt())) / r
    return torch.where(distance > 0, d, 0.0).float()


def _shrunk(side: Tensor) -> Tensor:
    """sinh(A) / (A e^A), which is 1 at A = 0."""
    side = side.clamp(min=1e-9)
    return -torch.expm1(-2 * side) / (2 * side)


def released_points(x: Tensor, *, curvature: float) -> Tensor:
    """exp_0 of the rows of x (N, D) as released: lengths from 1e-5, r|x| to 15, points to 0.999 of the radius."""
    r = curvature**0.5
    length = x.norm(dim=1, keepdim=True).clamp(min=1e-5)
    p = torch.tanh((r * length).clamp(-15, 15)) * x / (r * length)
    size = p.norm(dim=1, keepdim=True).clamp(min=1e-5)
    limit = (1 - 1e-3) / r
    return torch.where(size > limit, p / size * limit, p)


def released_geodesics(x: Tensor, y: Tensor | None = None, *, curvature: float) -> Tensor:
    """Distances (N, M) of released_points of x (N, D) and y (M, D), with the released clamps: at most 38.6 at c = 0.1.

    1e-5 is added to the denominator 1 - 2c<p,q> + c²|p|²|q|² of the Möbius addition, and the argument of artanh is
    held below 1 - 1e-5 with the gradient of the held value. The length of the numerator is |p - q| times the root of
    that denominator, which spares the N x M x D differences. All features longer than about 12 lie on the same shell:
    their distances are nearly equal and their gradient vanishes. A point's distance to itself is 0 here; as
    released, rounding can leave it positive on that shell.
    """
    r = curvature**0.5
    p = released_points(x, curvature=curvature)
    q = p if y is None else released_points(y, curvature=curvature)
    between = distances(p, None if y is None else q)
    inside_p, inside_q = 1 - curvature * (p * p).sum(1)[:, None], 1 - curvature * (q * q).sum(1)
    below = inside_p * inside_q + curvature * between**2
    reach = r * between * below.sqrt() / (below + 1e-5)
    held = reach + (reach.clamp(max=1 - 1e-5) - reach).detach()
    return 2 / r * torch.atanh(held)
