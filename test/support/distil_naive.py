"""Relations of a few samples in plain loops from METHODS section 3: what the distillation losses must equal."""

import math

import torch

C = 0.1  # curvature
R = math.sqrt(C)


def embeddings(size=6, width=5, teacher_width=5, scale=1.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    student = torch.randn(size, width, generator=g, dtype=torch.float64) * scale
    return student, torch.randn(size, teacher_width, generator=g, dtype=torch.float64) * scale * 1.5


def norm(v):
    return math.sqrt(sum(a * a for a in v))


def euclidean(u, v):
    return norm([a - b for a, b in zip(u, v, strict=True)])


def cosine(u, v):
    return sum(a * b for a, b in zip(u, v, strict=True)) / (norm(u) * norm(v))


def hyperbolic(u, v):
    """By the distance formula of the ball in its arcosh form, from the points themselves."""

    def point(w):
        return [math.tanh(R * norm(w)) * a / (R * norm(w)) for a in w]

    p, q = point(u), point(v)
    inside = (1 - C * norm(p) ** 2) * (1 - C * norm(q) ** 2)
    return math.acosh(1 + 2 * C * euclidean(p, q) ** 2 / inside) / R


def hyperbolic_released(u, v):
    """Exponential map, projection, Möbius addition and clamps one by one."""

    def point(w):
        n = max(norm(w), 1e-5)
        p = [math.tanh(max(-15.0, min(15.0, R * n))) * a / (R * n) for a in w]
        limit = (1 - 1e-3) / R
        return [a / norm(p) * limit for a in p] if norm(p) > limit else p

    x, y = [-a for a in point(u)], point(v)
    xy = sum(a * b for a, b in zip(x, y, strict=True))
    xx, yy = norm(x) ** 2, norm(y) ** 2
    top = [(1 + 2 * C * xy + C * yy) * a + (1 - C * xx) * b for a, b in zip(x, y, strict=True)]
    total = [a / (1 + 2 * C * xy + C * C * xx * yy + 1e-5) for a in top]
    return 2 / R * math.atanh(min(R * norm(total), 1 - 1e-5))


def smooth_l1(a, b):
    d = abs(a - b)
    return d * d / 2 if d < 1 else d - 0.5


def table(of, x, y=None):
    """of(x_i, y_j) for all pairs; the diagonal of x with itself is 0 for a distance."""
    other = x if y is None else y
    rows = [[of(u, v) if y is not None or i != j else 0.0 for j, v in enumerate(other)] for i, u in enumerate(x)]
    return rows


def in_means(rows):
    positive = [v for row in rows for v in row if v > 0]
    return [[v / (sum(positive) / len(positive)) for v in row] for row in rows]


def mean_of(loss, a, b):
    pairs = [(p, q) for row, other in zip(a, b, strict=True) for p, q in zip(row, other, strict=True)]
    return sum(loss(p, q) for p, q in pairs) / len(pairs)


def square(a, b):
    return (a - b) ** 2


def angles(x):
    def unit_to(i, j):
        n = euclidean(x[i], x[j])
        return [(b - a) / n if n else 0.0 for a, b in zip(x[i], x[j], strict=True)]

    n = range(len(x))
    return [[sum(a * b for a, b in zip(unit_to(i, j), unit_to(i, k), strict=True)) for k in n] for i in n for j in n]


def units(x):
    return [[a / norm(row) for a in row] for row in x]
