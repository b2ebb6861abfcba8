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
    return _rows(maps).mean(1) if _is_channels_last(maps) else maps.mean((2, 3))


class _SiLU(nn.SiLU):
    def forward(self, maps: Tensor) -> Tensor:
        trained = torch.is_grad_enabled() and maps.requires_grad
        return F.silu(maps, inplace=self.inplace and not trained)


class _SqueezeExcite(SqueezeExcite):
    def forward(self, maps: Tensor) -> Tensor:
        squeezed = mean_of_places(maps)[:, :, None, None]
        gates = self.gate(self.conv_expand(self.act1(self.conv_reduce(squeezed))))
        if torch.is_grad_enabled() and _is_channels_last(maps) and maps.dtype == gates.dtype:
            return _Gated.apply(maps, gates)
        return maps * gates


class _Gated(torch.autograd.Function):
    """Maps [B, C, H, W] times gates [B, C, 1, 1], in channels-last."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, gates: Tensor) -> Tensor:
        ctx.save_for_backward(maps, gates)
        return maps * gates

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        maps, gates = ctx.saved_tensors
        return gradient * gates, _rows(gradient * maps).sum(1)[:, :, None, None]


def _is_channels_last(maps: Tensor) -> bool:
    return maps.device.type == "cpu" and maps.is_contiguous(memory_format=torch.channels_last)


def _rows(maps: Tensor) -> Tensor:
    """View channels-last maps [B, C, H, W] as [B, H * W, C]."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)
