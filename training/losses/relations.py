"""Relations among the samples of a batch: distances, cosines and angles, finite and with finite gradients.

All teacher–student losses of this package use these functions. They compute in float32, independently of the precision
of the embeddings and of the surrounding autocast, and their gradient is bounded where samples coincide.

`weights` (N,) say how much each sample counts, all above 0; None counts all alike. A pair counts with the product of
its two weights and a triple with that of its three, so that a sample of hardly any weight is as good as left out.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor
from torch.nn import functional as F

from vpr_ros.errors import VprError

P = ParamSpec("P")
Terms = dict[str, Tensor]

CLOSE = 1e-6  # rows closer than this fraction of their length count as equal
SHORTEST_ARM = 1e-3  # of an angle, as a fraction of the mean distance; shorter ones count as this long
BLOCK = 1 << 20  # entries of an N x N x N table that are in memory at once


def in_float32(
    terms: Callable[Concatenate[Tensor, Tensor, P], Terms],
) -> Callable[Concatenate[Tensor, Tensor, P], Terms]:
    """Wrap a function of student (B, D) and teacher (B, D'): float32, outside autocast, no gradient to the teacher."""

    @wraps(terms)
    def run(student: Tensor, teacher: Tensor, *args: P.args, **kwargs: P.kwargs) -> Terms:
        if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or not len(student):
            raise VprError(
                "a distillation loss needs one row of student and of teacher per sample, "
                f"not {tuple(student.shape)} and {tuple(teacher.shape)}"
            )
        with torch.autocast(student.device.type, enabled=False):
            return terms(student.float(), teacher.detach().float(), *args, **kwargs)

    return run


def same_width(student: Tensor, teacher: Tensor, what: str) -> None:
    """VprError where the widths differ: `what` compares embeddings entry by entry."""
    if student.shape != teacher.shape:
        raise VprError(
            f"{what} needs student and teacher embeddings of one width, not {student.shape[1]} and "
            f"{teacher.shape[1]}: add a projection head or choose a loss of relations"
        )


def distances(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Euclidean distances (N, M) of the rows of x (N, D) and y (M, D), or of x to itself.

    The products are computed in float64, in which the expanded square keeps small distances and which settings for
    reduced precision do not affect. Rows closer than a millionth of their length count as equal: distance and gradient
    are 0.
    """
    a = x.double()
    b = a if y is None else y.double()
    size = (a * a).sum(1)[:, None] + (b * b).sum(1)
    square = size - 2 * a @ b.T
    distinct = square > CLOSE**2 * size
    return torch.where(distinct, torch.where(distinct, square, 1.0).sqrt(), 0.0).float()


def cosines(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Cosines (N, M) of the rows of x (N, D) and y (M, D), or of x to itself; 0 with a row of zeros."""
    a = unit(x).double()
    return (a @ (a if y is None else unit(y).double()).T).float()


def off_diagonal_mean(square: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over pairs i != j of a matrix (N, N) with a zero diagonal; at least 1e-12, also for a single sample."""
    n = len(square)
    if weights is None:
        return (square.sum() / max(n * (n - 1), 1)).clamp(min=1e-12)
    both = weights[:, None] * weights[None]
    return ((both * square).sum() / (both.sum() - both.trace()).clamp(min=1e-12)).clamp(min=1e-12)


def relative(square: Tensor, weights: Tensor | None = None) -> Tensor:
    """Distances (N, N) in units of their mean over pairs i != j; zeros where all are zero."""
    return square / off_diagonal_mean(square, weights)


def unit(x: Tensor) -> Tensor:
    """Rows of x (N, D) at length 1; a row of zeros stays zero, and the gradient of a short row is bounded."""
    return F.normalize(x, dim=1, eps=CLOSE)


def huber(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Tensor:
    """Smooth L1 with beta 1, mean over all entries of (N, N)."""
    if weights is None:
        return F.smooth_l1_loss(student, teacher)
    return weighted_mean(F.smooth_l1_loss(student, teacher, reduction="none"), weights)


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of values of samples (N,) or of pairs (N, N)."""
    if weights is None:
        return values.mean()
    each = weights if values.ndim == 1 else weights[:, None] * weights[None]
    return (each * values).sum() / each.sum()


def _cosines_at(i: Tensor, d: Tensor, arms: Tensor) -> Tensor:
    """Cosines (len(i), N, N) of the angles at samples i between the directions to j and k, by the law of cosines."""
    to_j, to_k = d[i][:, :, None], d[i][:, None, :]
    return (to_j**2 + (to_k - d) * (to_k + d)) / (2 * arms[i][:, :, None] * arms[i][:, None, :])


def _arms(d: Tensor, weights: Tensor | None) -> Tensor:
    """Lengths (N, N) of an angle's arms, at least `SHORTEST_ARM` of the mean distance, which bounds the gradient."""
    return torch.maximum(d, SHORTEST_ARM * off_diagonal_mean(d.detach(), weights))


class _AngleLoss(torch.autograd.Function):
    """The loss by blocks of anchors; the forward also computes its gradient to the distances (N, N), block by block."""

    @staticmethod
    def forward(ctx, student: Tensor, teacher: Tensor, weights: Tensor | None) -> Tensor:
        n = len(student)
        total, gradient = student.new_zeros(()), torch.zeros_like(student)
        arms_t = _arms(teacher, weights)
        both = None if weights is None else weights[:, None] * weights[None]
        for i in torch.arange(n, device=student.device).split(max(1, BLOCK // (n * n))):
            target = _cosines_at(i, teacher, arms_t)
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                leaf = student.detach().requires_grad_(ctx.needs_input_grad[0])
                angles = _cosines_at(i, leaf, _arms(leaf, weights))
                if weights is None or both is None:
                    loss = F.smooth_l1_loss(angles, target, reduction="sum") / n**3
                else:
                    each = weights[i, None, None] * both * F.smooth_l1_loss(angles, target, reduction="none")
                    loss = each.sum() / weights.sum() ** 3
            if ctx.needs_input_grad[0]:
                gradient += torch.autograd.grad(loss, leaf)[0]
            total += loss.detach()
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] * ctx.saved_tensors[0], None, None


def angle_loss(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Tensor:
    """Smooth L1 between the angles of all triples, mean over N x N x N, from distances (N, N) on either side.

    For every i, j, k it compares cos = (x_j - x_i)·(x_k - x_i) / (|x_j - x_i| |x_k - x_i|), which is 0 where j or k
    coincides with i (Park et al., CVPR 2019, equation 6). The cosines follow from the distances by the law of cosines,
    so that memory grows neither with the width nor, beyond a block, with the cube of the batch. Arms shorter than a
    thousandth of the mean distance count as that long: their gradient would be unbounded.
    """
    return _AngleLoss.apply(student, teacher, weights)  # pyright: ignore[reportReturnType]
