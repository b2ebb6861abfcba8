"""Squeeze-and-excitation with fewer passes over the feature maps, which is what it costs on a CPU.

It multiplies maps by gates and computes next to nothing. PyTorch's mean over height and width reads channels-last maps
several times as slowly as they can be read.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn

from .compiling import compiled
from .derivatives import first_order


def quicker_gate(module: nn.Module) -> type[nn.Module] | None:
    """Return the class that a squeeze-and-excitation layer is to take, None for all else."""
    return _SqueezeExcite if type(module) is SqueezeExcite else None


def mean_of_places(maps: Tensor) -> Tensor:
    """Return the mean [B, C] of maps [B, C, H, W] over height and width."""
    if not _is_channels_last(maps) or maps.dtype == torch.float16:  # whose sum may overflow
        return maps.mean((2, 3))
    return _rows(maps).sum(1) / _n_places(maps)


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
        ctx.layer, ctx.loops = layer, _loops(layer, maps)
        if ctx.loops:
            squeezed = ctx.loops.sums_over_places(_rows(maps)) / _n_places(maps)
        else:
            squeezed = mean_of_places(maps).to(weights[0].dtype)
        gates = layer.gates(squeezed, *weights)
        ctx.save_for_backward(maps, gates, squeezed, *weights)
        if ctx.loops:
            return _as_maps(ctx.loops.line(_rows(maps), gates, torch.zeros_like(gates)), maps)
        return maps * gates.to(maps.dtype)[:, :, None, None]

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, factors, *inputs = ctx.saved_tensors
        own = _rows(gradient).contiguous()
        with torch.enable_grad():  # the gates once more: they are few
            inputs = [part.detach().requires_grad_() for part in inputs]
            gates = ctx.layer.gates(*inputs)
        if ctx.loops:
            of_gates = ctx.loops.sums_over_places(own, _rows(maps))
        else:
            of_gates = (own * _rows(maps)).sum(1).to(gates.dtype)
        of_squeezed, *of_weights = torch.autograd.grad(gates, inputs, of_gates)
        share = of_squeezed / _n_places(maps)
        if ctx.loops:
            of_maps = ctx.loops.line(own, factors, share)
        else:
            of_maps = torch.addcmul(*(part.to(maps.dtype)[:, None] for part in (share, factors)), own)
        return None, _as_maps(of_maps, maps), *of_weights


def _loops(layer: _SqueezeExcite, maps: Tensor) -> ModuleType | None:
    wanted = (
        layer.training
        and type(maps) is Tensor
        and maps.dtype == torch.bfloat16
        and layer.conv_reduce.weight.dtype == torch.float32
        and maps.numel() > 0
    )
    return compiled("gate_loops") if wanted else None


def _is_channels_last(maps: Tensor) -> bool:
    return maps.device.type == "cpu" and maps.is_contiguous(memory_format=torch.channels_last)


def _rows(maps: Tensor) -> Tensor:
    """View channels-last maps [B, C, H, W] as [B, H * W, C]."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)


def _as_maps(rows: Tensor, maps: Tensor) -> Tensor:
    """Return rows [B, H * W, C] in the shape of the maps."""
    return rows.unflatten(1, maps.shape[2:]).permute(0, 3, 1, 2).data  # no view: it may be changed in place


def _n_places(maps: Tensor) -> int:
    return maps.shape[2] * maps.shape[3]
