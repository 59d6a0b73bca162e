"""Gather, multiply, scatter: sparse convolution over a kernel map, with its gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .kernel_map import KernelMap


def _convolve(x: Tensor, kernel: Tensor, pairs: KernelMap) -> Tensor:
    """(Vin, Cin), (K^3, Cin, Cout) -> (Vout, Cout)."""
    if pairs.identity is None:
        out = x.new_zeros(pairs.n_outputs, kernel.shape[2])
    else:
        out = x @ kernel[pairs.identity]
    for k, inputs, outputs in pairs.groups:
        out.index_add_(0, outputs, x.index_select(0, inputs) @ kernel[k])
    return out


class _Convolution(torch.autograd.Function):
    """Keeps the features and the map only: gathered rows are gathered again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, pairs: KernelMap) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.pairs = pairs
        return _convolve(x, kernel, pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (grad,) = grad_outputs
        x, kernel = ctx.saved_tensors
        pairs: KernelMap = ctx.pairs
        grad = grad.contiguous()
        grad_x = grad_kernel = None
        if ctx.needs_input_grad[0]:
            grad_x = _convolve(grad, kernel.transpose(1, 2), pairs.transposed)
        if ctx.needs_input_grad[1]:
            grad_kernel = torch.zeros_like(kernel)
            if pairs.identity is not None:
                grad_kernel[pairs.identity] = x.T @ grad
            for k, inputs, outputs in pairs.groups:
                grad_kernel[k] = x.index_select(0, inputs).T @ grad.index_select(0, outputs)
        return grad_x, grad_kernel, None


def sparse_convolution(x: Tensor, kernel: Tensor, pairs: KernelMap) -> Tensor:
    """out[u] = sum over the pairs (i, u) of offset k of x[i] @ kernel[k].

    `x` (Vin, Cin), `kernel` (K^3, Cin, Cout) -> (Vout, Cout). Under autocast both are cast as for a matrix product.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, kernel = x.to(dtype), kernel.to(dtype)
    result = _Convolution.apply(x, kernel, pairs)
    assert isinstance(result, Tensor)
    return result
