"""Distances between embeddings that the exponential map at the centre maps into the Poincaré ball.

The ball of curvature -c has radius 1/r, r = sqrt(c); exp_0(v) = tanh(r|v|) v / (r|v|), and the distance of p and q is
(2/r) artanh(r |(-p) ⊕ q|), ⊕ the Möbius addition (METHODS section 3.6). So d(0, exp_0(v)) = 2|v|, and d approaches
twice the Euclidean distance for small features or small c.
"""

import torch
from torch import Tensor

from vpr_ros.training.losses.relations import distances


def geodesics(distance: Tensor, length: Tensor, other: Tensor, *, curvature: float) -> Tensor:
    """Hyperbolic distances (N, M) of exp_0(x_i) and exp_0(y_j), exact for features of any length.

    distance (N, M) are |x_i - y_j|, length (N,) and other (M,) are |x_i| and |y_j|. Points of long features lie so
    close to the boundary that 1 - c|p|² is 0 in floating point. That factor is sech²(r|v|), and with it the distance
    is the hyperbolic law of cosines for the sides A = 2r|x|, B = 2r|y|:

        sinh²(rd/2) = sinh²(D) + (sinh A / A)(sinh B / B)(r²|x - y|² - D²),   D = |A - B| / 2.

    e^{A+B} is factored out of both terms and added as A + B after the logarithm, so that nothing overflows.
    """
    r = curvature**0.5
    a, b = 2 * r * length.double()[:, None], 2 * r * other.double()
    half_gap = (a - b).abs() / 2
    excess = (r * distance.double()) ** 2 - half_gap**2
    along = torch.exp(-2 * torch.minimum(a, b)) * (torch.expm1(-2 * half_gap) / 2) ** 2
    m = (along + _scaled_sinh(a) * _scaled_sinh(b) * excess.clamp(min=0)).clamp(min=1e-60).sqrt()
    d = (a + b + 2 * torch.log(m + (m * m + torch.exp(-(a + b))).sqrt())) / r
    return torch.where(distance > 0, d, 0.0).float()


def _scaled_sinh(side: Tensor) -> Tensor:
    """sinh(A) / (A e^A), which is 1 at A = 0."""
    side = side.clamp(min=1e-9)
    return -torch.expm1(-2 * side) / (2 * side)


def released_points(x: Tensor, *, curvature: float) -> Tensor:
    """exp_0 of the rows of x (N, D) as released: lengths at least 1e-5, r|x| at most 15, points within 0.999 / r."""
    r = curvature**0.5
    length = x.norm(dim=1, keepdim=True).clamp(min=1e-5)
    p = torch.tanh((r * length).clamp(-15, 15)) * x / (r * length)
    size = p.norm(dim=1, keepdim=True).clamp(min=1e-5)
    limit = (1 - 1e-3) / r
    return torch.where(size > limit, p / size * limit, p)


def released_geodesics(x: Tensor, y: Tensor | None = None, *, curvature: float) -> Tensor:
    """Distances (N, M) of released_points of x (N, D) and y (M, D), with the released clamps: at most 38.6 at c = 0.1.

    1e-5 is added to the denominator 1 - 2c<p,q> + c²|p|²|q|² of the Möbius addition, and the argument of artanh is
    clamped to 1 - 1e-5, with the gradient of artanh at the clamped value. The length of the numerator is |p - q| times
    the root of that denominator, so that no N x M x D differences are computed. All features longer than about 12 lie
    on the same shell: their distances are nearly equal and their gradient vanishes. A point's distance to itself is 0
    here; in the released code rounding can make it positive on that shell.
    """
    r = curvature**0.5
    p = released_points(x, curvature=curvature)
    q = p if y is None else released_points(y, curvature=curvature)
    between = distances(p, None if y is None else q)
    inside_p, inside_q = 1 - curvature * (p * p).sum(1)[:, None], 1 - curvature * (q * q).sum(1)
    denominator = inside_p * inside_q + curvature * between**2
    argument = r * between * denominator.sqrt() / (denominator + 1e-5)
    clamped = argument + (argument.clamp(max=1 - 1e-5) - argument).detach()
    return 2 / r * torch.atanh(clamped)
