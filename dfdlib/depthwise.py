"""Depthwise convolutions whose gradients are fast in bf16 on a CPU, where PyTorch's own are not.

oneDNN has no bf16 kernel for the input gradient of a strided depthwise convolution, nor for the weight gradient of
one of 5 x 5, and falls back to a reference that takes 10 to 50 times as long (`benchmarks/depthwise.py`). Their
float32 kernels are fast, so the gradients are computed in float32, and the rest of the network stays in bf16.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def quicken_depthwise(network: nn.Module) -> None:
    """Let the depthwise convolutions of a network compute their bf16 gradients in float32, in place.

    Nothing else changes: not the names, the weights, nor what they compute.
    """
    kinds = {nn.Conv2d: _Depthwise, Conv2dSame: _DepthwiseSame}
    for module in network.modules():
        if type(module) in kinds and module.groups == module.in_channels > 1:
            module.__class__ = kinds[type(module)]  # a new module would draw weights and lose hooks


class _Depthwise(nn.Conv2d):
    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != "zeros" or isinstance(self.padding, str) or not _in_bf16(images):
            return super()._conv_forward(images, weight, bias)
        return _Gradients.apply(
            images.bfloat16(), weight, bias, self.stride, self.padding, self.dilation, self.groups
        )


class _DepthwiseSame(Conv2dSame):
    def forward(self, images: Tensor) -> Tensor:
        if not _in_bf16(images):
            return super().forward(images)
        padded = pad_same(images, self.weight.shape[-2:], self.stride, self.dilation)
        return _Gradients.apply(
            padded.bfloat16(), self.weight, self.bias, self.stride, (0, 0), self.dilation, self.groups
        )


def _in_bf16(images: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and images.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


class _Gradients(torch.autograd.Function):
    """A depthwise convolution in bf16 with gradients in float32."""

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
        ctx.how = [
            None if bias is None else [len(bias)],
            stride,
            padding,
            dilation,
            False,
            [0, 0],
            groups,
        ]
        return F.conv2d(images, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        of_images, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient.float(), images.float(), weight, *ctx.how, wanted
        )
        return None if of_images is None else of_images.bfloat16(), of_weight, of_bias, None, None, None, None
