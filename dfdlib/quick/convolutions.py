"""Convolutions whose gradients are fast in bf16 on a CPU, where PyTorch's own are not.

oneDNN has no bf16 kernel for the input gradient of a strided depthwise convolution, nor for the weight gradient of
one of 5 x 5, and falls back to a reference that takes 10 to 50 times as long (`benchmarks/layers.py`). The first is
that of a convolution without stride too, once the output's gradient lies at the places that the stride leaves, with
zeros between. The second is part of that of a convolution in groups of 16 channels: matrix units compute all the rest
of it too, and still take a fifth to a third of the time that depthwise kernels need in float32.

The weight gradient of a 1 x 1 convolution over small maps takes about twice as long as that of the linear layer which
it is.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

from .derivatives import first_order

_FAST_KERNEL = 3
"""Largest kernel whose weight gradient oneDNN computes fast in bf16."""
_SMALL = 14
"""Largest side of maps whose 1 x 1 convolutions are linear layers (EfficientNet-B0 and V2-S, two cores)."""


def quicker_convolution(module: nn.Module) -> type[nn.Module] | None:
    """Return the class that a depthwise or 1 x 1 convolution is to take, None for all else."""
    if type(module) not in (nn.Conv2d, Conv2dSame):
        return None
    kernel, stride = max(module.kernel_size), max(module.stride)
    if module.groups == module.in_channels > 1 and (stride > 1 or kernel > _FAST_KERNEL):
        return _Depthwise if type(module) is nn.Conv2d else _DepthwiseSame
    plain = type(module) is nn.Conv2d and kernel == stride == module.groups == 1
    return _Pointwise if plain and module.padding in ((0, 0), "same", "valid") else None


class _Pointwise(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        if not _in_bf16(images) or max(images.shape[2:]) > _SMALL:
            return super().forward(images)
        rows = images.permute(0, 2, 3, 1)  # a view, and contiguous where the maps lie channels-last
        return F.linear(rows, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias).permute(0, 3, 1, 2)


class _Depthwise(nn.Conv2d):
    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != "zeros" or isinstance(self.padding, str) or not _in_bf16(images):
            return super()._conv_forward(images, weight, bias)
        return _with_fast_gradients(self, images, self.padding)


class _DepthwiseSame(Conv2dSame):
    def forward(self, images: Tensor) -> Tensor:
        if not _in_bf16(images):
            return super().forward(images)
        padded = pad_same(images, self.weight.shape[-2:], self.stride, self.dilation)
        return _with_fast_gradients(self, padded, (0, 0))


def _with_fast_gradients(layer: nn.Conv2d, images: Tensor, padding: tuple[int, int]) -> Tensor:
    how = layer.stride, padding, layer.dilation, layer.groups
    return _Gradients.apply(images.bfloat16(), layer.weight, layer.bias, *how)


def _in_bf16(images: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and images.device.type == "cpu"
        and images.ndim == 4
        and images.dtype in (torch.float32, torch.bfloat16)
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


class _Gradients(torch.autograd.Function):
    """A depthwise convolution in bf16 whose gradients oneDNN has kernels for."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.how = stride, padding, dilation, groups
        return F.conv2d(images, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        of_images = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            spread = _spread(gradient, images, weight, ctx.how)
            of_images = _backward(spread, images, weight.bfloat16(), ((1, 1), *ctx.how[1:]), of_weight=False)
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(gradient, images, weight, ctx.how)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        return of_images, of_weight, of_bias, None, None, None, None


_How = tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]
"""Stride, padding, dilation and groups of a convolution."""


def _backward(gradient: Tensor, images: Tensor, weight: Tensor, how: _How, of_weight: bool) -> Tensor:
    stride, padding, dilation, groups = how
    wanted = [not of_weight, of_weight, False]
    return torch.ops.aten.convolution_backward(
        *(gradient, images, weight, None, stride, padding, dilation, False, (0, 0), groups, wanted)
    )[of_weight]


def _of_weight(gradient: Tensor, images: Tensor, weight: Tensor, how: _How) -> Tensor:
    """Return the gradient of depthwise weights [C, 1, k, k]; of several outputs a channel, [m * C, 1, k, k]."""
    slow, channels = max(weight.shape[2:]) > _FAST_KERNEL, len(weight)
    group = next((n for n in (16, 8) if channels % n == 0), 0) if channels == images.shape[1] else 0
    if min(images.shape[2:]) < max(how[0]):
        group = 0  # oneDNN leaves gradients unset where maps are narrower than the stride
    if slow and group:
        blocks = images.new_empty(channels, group, *weight.shape[2:])
        found = _backward(gradient, images, blocks, (*how[:3], channels // group), of_weight=True)
        own = found.unflatten(0, (-1, group)).diagonal(dim1=1, dim2=2)  # [C / group, k, k, group]
        return own.movedim(-1, 1).reshape(weight.shape).to(weight.dtype)
    parts = (part.to(torch.float32 if slow else torch.bfloat16) for part in (gradient, images, weight))
    return _backward(*parts, how, of_weight=True).to(weight.dtype)


def _spread(gradient: Tensor, images: Tensor, weight: Tensor, how: _How) -> Tensor:
    """Return the gradient [B, C, h, w] of the output as that of the same convolution without stride."""
    stride, padding, dilation, _ = how
    if stride == (1, 1):
        return gradient
    height, width = (
        side + 2 * pad - step * (kernel - 1)
        for side, pad, step, kernel in zip(images.shape[2:], padding, dilation, weight.shape[2:], strict=True)
    )
    # channels-last in memory, as the gradient is
    spread = gradient.new_zeros(len(gradient), height, width, gradient.shape[1]).permute(0, 3, 1, 2)
    spread[:, :, :: stride[0], :: stride[1]] = gradient
    return spread
