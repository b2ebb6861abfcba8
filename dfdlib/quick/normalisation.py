"""Batch normalisation, with the SiLU that follows it, in as few passes over bf16 maps as they need on a CPU.

PyTorch reads maps twice for their statistics, normalises them into maps of their own and takes SiLU of those, each
time from bf16 to float32 and back, and takes channels beyond a multiple of 16 one by one. Here statistics take one
pass, and the answers and the derivative of SiLU another; gradients take two. Nothing between is rounded.
"""

from __future__ import annotations

import ctypes
import functools
import math
import sys
import warnings
from types import ModuleType
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_LANES, _LONG = 16, 512


def quicker_normalisation(module: nn.Module) -> type[nn.Module] | None:
    """Return the class that a batch normalisation is to take, None for all else."""
    return _BatchNormAct if type(module) is BatchNormAct2d and module.affine else None


@functools.cache
def _kernels() -> ModuleType | None:
    """Return the compiled loops; None where there is no Numba, or PyTorch's threads do not answer to libgomp's names."""
    found = sys.platform == "linux" and torch.backends.openmp.is_available()
    if not found or not hasattr(ctypes.CDLL(None), "GOMP_parallel"):
        return None
    try:
        from . import kernels
    except ImportError as error:  # such as of a NumPy that it does not know yet
        warnings.warn(f"Training takes about a fifth longer without Numba: {error}", stacklevel=2)
        return None
    return kernels


class _BatchNormAct(BatchNormAct2d):
    def forward(self, maps: Tensor) -> Tensor:
        if not _is_quick(self, maps):
            return super().forward(maps)
        if type(self.act) is nn.SiLU and type(self.drop) is nn.Identity:
            return _normalised(self, maps, silu=True)
        return self.act(self.drop(_normalised(self, maps, silu=False)))


def _is_quick(layer: nn.BatchNorm2d, maps: Tensor) -> bool:
    return (
        layer.training
        and torch.is_grad_enabled()
        and maps.dtype == torch.bfloat16
        and maps.device.type == "cpu"
        and maps.is_contiguous(memory_format=torch.channels_last)
        and layer.weight.dtype == torch.float32
        and layer.track_running_stats
        and layer.num_batches_tracked is not None
        and layer.momentum is not None
        and maps.numel() > maps.shape[1]
        and _kernels() is not None
    )


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
        rows, layer = _rows(maps), (weight, bias, running_mean, running_var)
        answers, slopes, statistics = _kernels().normalise(rows, layer, momentum, eps, silu)
        ctx.save_for_backward(rows, weight, statistics, slopes)
        return _as_maps(answers, maps).data  # no view: activations may change it in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, statistics, slopes = ctx.saved_tensors
        own = gradient.permute(0, 2, 3, 1).reshape(rows.shape).contiguous()
        of_maps, (of_weight, of_bias) = _kernels().normalise_backward(rows, weight, statistics, own, slopes)
        return _as_maps(of_maps, gradient), of_weight, of_bias, None, None, None, None, None


def _rows(maps: Tensor) -> Tensor:
    """View channels-last maps [B, C, H, W] as [B * H * W / k, k * C].

    Neighbouring places share a row where that makes its length a multiple of what a processor takes at a time, and
    long enough for inner loops.
    """
    n_channels = maps.shape[1]
    k = _LANES // math.gcd(n_channels, _LANES)
    while k * n_channels < _LONG:
        k *= 2
    while maps.numel() // n_channels % k:
        k //= 2
    return maps.permute(0, 2, 3, 1).reshape(-1, k * n_channels)


def _as_maps(rows: Tensor, maps: Tensor) -> Tensor:
    """View rows in the shape of the maps, as channels-last as they are."""
    return rows.view(maps.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
