"""Squeeze-and-excitation with fewer passes over the feature maps, which is what it costs on a CPU.

It multiplies maps by gates and computes next to nothing. PyTorch's mean over height and width reads channels-last maps
several times as slowly as they can be read.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def quicker_gate(module: nn.Module) -> type[nn.Module] | None:
    """Return the class that a squeeze-and-excitation layer is to take, None for all else."""
    return _SqueezeExcite if type(module) is SqueezeExcite else None


def mean_of_places(maps: Tensor) -> Tensor:
    """Return the mean [B, C] of maps [B, C, H, W] over height and width."""
    if not _is_channels_last(maps) or maps.dtype == torch.float16:  # whose sum may overflow
        return maps.mean((2, 3))
    return _rows(maps).sum(1) / (maps.shape[2] * maps.shape[3])


class _SqueezeExcite(SqueezeExcite):
    def forward(self, maps: Tensor) -> Tensor:
        if not _is_channels_last(maps):
            return super().forward(maps)
        layers = self.conv_reduce, self.conv_expand
        return _Gated.apply(self, maps, *(part for layer in layers for part in (layer.weight, layer.bias)))

    def gates(
        self, squeezed: Tensor, reduce: Tensor, before: Tensor, expand: Tensor, after: Tensor
    ) -> Tensor:
        """Return gates [B, C] for means [B, C], weights and biases; in the precision of the weights.

        As layers on so few numbers, convolutions and bf16 are slower.
        """
        with torch.autocast("cpu", enabled=False):
            hidden = self.act1(F.linear(squeezed, reduce.permute(0, 2, 3, 1).flatten(1), before))
            return self.gate(F.linear(hidden, expand.permute(0, 2, 3, 1).flatten(1), after))


class _Gated(torch.autograd.Function):
    """Maps [B, C, H, W] times the gates that a squeeze-and-excitation layer computes from them.

    Two gradients flow to the maps, from the product and from the mean; they are written in one pass.
    """

    @staticmethod
    def forward(ctx: Any, layer: _SqueezeExcite, maps: Tensor, *weights: Tensor) -> Tensor:
        squeezed = mean_of_places(maps).to(weights[0].dtype)
        factors = layer.gates(squeezed, *weights).to(maps.dtype)[:, :, None, None]
        ctx.layer = layer
        ctx.save_for_backward(maps, factors, squeezed, *weights)
        return maps * factors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, factors, *inputs = ctx.saved_tensors
        with torch.enable_grad():  # the gates once more: they are few
            inputs = [part.detach().requires_grad_() for part in inputs]
            gates = ctx.layer.gates(*inputs)
        of_gates = _rows(gradient * maps).sum(1).to(gates.dtype)
        of_squeezed, *of_weights = torch.autograd.grad(gates, inputs, of_gates)
        share = (of_squeezed / (maps.shape[2] * maps.shape[3])).to(maps.dtype)[:, :, None, None]
        return None, torch.addcmul(share, gradient, factors), *of_weights


def _is_channels_last(maps: Tensor) -> bool:
    return maps.device.type == "cpu" and maps.is_contiguous(memory_format=torch.channels_last)


def _rows(maps: Tensor) -> Tensor:
    """View channels-last maps [B, C, H, W] as [B, H * W, C]."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)
