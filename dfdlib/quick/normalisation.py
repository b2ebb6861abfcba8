"""Batch normalisation, with the SiLU that follows it, in as few passes over bf16 maps as they need on a CPU.

PyTorch reads maps twice for their statistics, normalises them into maps of their own and takes SiLU of those, each
time from bf16 to float32 and back, and takes channels beyond a multiple of 16 one by one. Here statistics take one
pass, and the answers and the derivative of SiLU another; gradients take two. Nothing between is rounded.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from .compiling import compiled
from .derivatives import first_order

_LOOPS = "normalisation_loops"


def quicker_normalisation(module: nn.Module) -> type[nn.Module] | None:
    """Return the class that a batch normalisation is to take, None for all else."""
    return _BatchNormAct if type(module) is BatchNormAct2d and module.affine else None


class _BatchNormAct(BatchNormAct2d):
    def forward(self, maps: Tensor) -> Tensor:
        if not _is_quick(self, maps):
            return super().forward(maps)
        if (
            type(self.act) is nn.SiLU
            and type(self.drop) is nn.Identity
            and not _has_hooks(self.act, self.drop)
        ):
            return _normalised(self, maps, silu=True)
        return self.act(self.drop(_normalised(self, maps, silu=False)))


def _is_quick(layer: nn.BatchNorm2d, maps: Tensor) -> bool:
    """Whether the loops do what PyTorch would, and would not refuse it."""
    parts = layer.weight, layer.bias, layer.running_mean, layer.running_var
    return (
        layer.training
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and type(maps) is Tensor
        and maps.dtype == torch.bfloat16
        and maps.device.type == "cpu"
        and maps.is_contiguous(memory_format=torch.channels_last)
        and maps.numel() > maps.shape[1] == layer.num_features
        and all(_is_plain(part, layer.num_features) for part in parts)
        and layer.num_batches_tracked is not None
        and layer.momentum is not None
        and layer.eps > 0
        and compiled(_LOOPS) is not None
    )


def _is_plain(part: Tensor | None, size: int) -> bool:
    return (
        type(part) in (Tensor, nn.Parameter)
        and part.shape == (size,)
        and part.dtype == torch.float32
        and part.device.type == "cpu"
        and part.is_contiguous()
    )


def _has_hooks(*modules: nn.Module) -> bool:
    kinds = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
    return any(getattr(module, kind) for module in modules for kind in kinds)


def _normalised(layer: nn.BatchNorm2d, maps: Tensor, silu: bool) -> Tensor:
    layer.num_batches_tracked.add_(1)
    statistics = layer.running_mean, layer.running_var, layer.momentum, layer.eps
    return _Normalised.apply(maps, layer.weight, layer.bias, *statistics, silu)


class _Normalised(torch.autograd.Function):
    """Batch normalisation of channels-last maps [B, C, H, W] in training, with or without SiLU after it."""

    @staticmethod
    def forward(
        ctx: Any,
        maps: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
        silu: bool,
    ) -> Tensor:
        loops, layer = compiled(_LOOPS), (weight, bias, running_mean, running_var)
        answers, slopes, statistics = loops.normalise(maps.permute(0, 2, 3, 1), layer, momentum, eps, silu)
        ctx.save_for_backward(maps, weight, statistics, slopes)
        return answers.permute(0, 3, 1, 2).data  # no view: activations may change it in place

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, statistics, slopes = ctx.saved_tensors
        maps, gradient = (part.permute(0, 2, 3, 1).contiguous() for part in (maps, gradient))
        of_maps, *others = compiled(_LOOPS).normalise_backward(maps, weight, statistics, gradient, slopes)
        return of_maps.permute(0, 3, 1, 2), *others, None, None, None, None, None
