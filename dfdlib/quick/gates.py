"""SiLU and squeeze-and-excitation with fewer passes over the feature maps, which is what they cost on a CPU.

Both multiply a map by a sigmoid and compute next to nothing. PyTorch's in-place SiLU copies its input for the
backward pass; its mean over height and width reads channels-last maps several times as slowly as they can be read.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def quicken_gates(network: nn.Module) -> None:
    """Let the SiLU and squeeze-and-excitation layers of a network take fewer passes, in place.

    Names, weights and answers stay the same (but for rounding, where the network runs in bf16).
    """
    kinds = {nn.SiLU: _SiLU, SqueezeExcite: _SqueezeExcite}
    for module in network.modules():
        if type(module) in kinds:
            module.__class__ = kinds[type(module)]  # a new module would draw weights and lose hooks


def mean_of_places(maps: Tensor) -> Tensor:
    """Return the mean [B, C] of maps [B, C, H, W] over height and width."""
    return _rows(maps).sum(1) / maps[0, 0].numel() if _is_channels_last(maps) else maps.mean((2, 3))


class _SiLU(nn.SiLU):
    def forward(self, maps: Tensor) -> Tensor:
        trained = torch.is_grad_enabled() and maps.requires_grad
        return F.silu(maps, inplace=self.inplace and not trained)


class _SqueezeExcite(SqueezeExcite):
    def forward(self, maps: Tensor) -> Tensor:
        if not _is_channels_last(maps):
            return super().forward(maps)
        if torch.is_grad_enabled() and maps.requires_grad:
            learned = [weight for weight in self.parameters() if weight.requires_grad]
            return _Gated.apply(self, maps, *learned)
        return maps * self.gates(mean_of_places(maps)).to(maps.dtype)[:, :, None, None]

    def gates(self, squeezed: Tensor) -> Tensor:
        """Return gates [B, C] for means [B, C], in full precision: half is slower for so few numbers."""
        with torch.autocast("cpu", enabled=False):
            hidden = _linear(self.conv_reduce, squeezed.to(self.conv_reduce.weight.dtype))
            return self.gate(_linear(self.conv_expand, self.act1(hidden)))


class _Gated(torch.autograd.Function):
    """Maps [B, C, H, W] times the gates that a squeeze-and-excitation layer computes from them.

    Two gradients flow to the maps, from the product and from the mean; they are written in one pass.
    """

    @staticmethod
    def forward(ctx: Any, layer: _SqueezeExcite, maps: Tensor, *learned: Tensor) -> Tensor:
        with torch.enable_grad():
            squeezed = mean_of_places(maps.detach()).requires_grad_()
            gates = layer.gates(squeezed)
        ctx.graph = gates, [squeezed, *learned]
        factors = gates.detach().to(maps.dtype)[:, :, None, None]
        ctx.save_for_backward(maps, factors)
        return maps * factors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, factors = ctx.saved_tensors
        gates, inputs = ctx.graph
        of_gates = _rows(gradient * maps).sum(1).to(gates.dtype)
        of_squeezed, *of_learned = torch.autograd.grad(gates, inputs, of_gates, retain_graph=True)
        share = (of_squeezed / maps[0, 0].numel()).to(maps.dtype)[:, :, None, None]
        return None, torch.addcmul(share, gradient, factors), *of_learned


def _linear(convolution: nn.Conv2d, vectors: Tensor) -> Tensor:
    """Apply a convolution of 1 x 1 to [B, C]; as a convolution it would take longer."""
    return F.linear(vectors, convolution.weight.flatten(1), convolution.bias)


def _is_channels_last(maps: Tensor) -> bool:
    return maps.device.type == "cpu" and maps.is_contiguous(memory_format=torch.channels_last)


def _rows(maps: Tensor) -> Tensor:
    """View channels-last maps [B, C, H, W] as [B, H * W, C]."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)
