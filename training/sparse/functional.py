"""Gather, multiply, scatter: sparse convolution over a kernel map, with its gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vpr_ros.training.sparse.kernel_map import KernelMap


def _accumulator(rows: int, channels: int, like: Tensor) -> Tensor:
    """Zeros (rows, channels); half precision is summed in float32, as within a matrix product."""
    dtype = torch.float32 if like.dtype in (torch.float16, torch.bfloat16) else like.dtype
    return torch.zeros(rows, channels, dtype=dtype, device=like.device)


class _Convolution(torch.autograd.Function):
    """Saves the features and the map only: the backward pass gathers rows again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, pairs: KernelMap) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.pairs = pairs
        out = _accumulator(pairs.n_outputs, kernel.shape[2], x)
        if pairs.identity is not None:
            out += x @ kernel[pairs.identity]
        for k, inputs, outputs in pairs.groups:
            # each row at most once in a group: the sum is deterministic, also on a GPU
            out.index_add_(0, outputs, (x.index_select(0, inputs) @ kernel[k]).to(out.dtype))
        return out.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, kernel = ctx.saved_tensors
        grad, pairs = grad_outputs[0].contiguous(), ctx.pairs
        for_x, for_kernel = ctx.needs_input_grad[:2]
        grad_x = _accumulator(*x.shape, like=x) if for_x else None
        grad_kernel = torch.zeros_like(kernel) if for_kernel else None
        if pairs.identity is not None:
            if grad_x is not None:
                grad_x += grad @ kernel[pairs.identity].T
            if grad_kernel is not None:
                grad_kernel[pairs.identity] = x.T @ grad
        for k, inputs, outputs in pairs.groups:
            grad_k = grad.index_select(0, outputs)
            if grad_x is not None:
                grad_x.index_add_(0, inputs, (grad_k @ kernel[k].T).to(grad_x.dtype))
            if grad_kernel is not None:
                torch.mm(x.index_select(0, inputs).T, grad_k, out=grad_kernel[k])
        return None if grad_x is None else grad_x.to(x.dtype), grad_kernel, None


def sparse_convolution(x: Tensor, kernel: Tensor, pairs: KernelMap) -> Tensor:
    """out[u] = sum over the pairs (i, u) of offset k of x[i] @ kernel[k].

    `x` (Vin, Cin), `kernel` (K^3, Cin, Cout) -> (Vout, Cout). Under autocast both are cast as a matrix product
    would cast them.
    """
    dtype = (x[:0] @ kernel[0]).dtype  # the type that autocast gives, on any device and in any version
    x, kernel = x.to(dtype), kernel.to(dtype)
    result = _Convolution.apply(x, kernel, pairs)
    assert isinstance(result, Tensor)
    return result
