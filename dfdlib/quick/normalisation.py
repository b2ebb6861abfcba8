"""Batch normalisation that trains fast in bf16 on a CPU for any number of channels, where PyTorch's own does not.

PyTorch's channels-last kernels take 16 channels at a time and the rest one by one: an element of 24 channels takes
four times as long. EfficientNets have 24 and 40 channels where the maps are large.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_LANES, _LONG = 16, 128


def quicker_normalisation(module: nn.Module) -> type[nn.Module] | None:
    """Return the class that a batch normalisation is to take, None for all else."""
    wanted = type(module) is BatchNormAct2d and module.affine and module.num_features % _LANES
    return _BatchNormAct if wanted else None


class _BatchNormAct(BatchNormAct2d):
    def forward(self, maps: Tensor) -> Tensor:
        quick = (
            self.training
            and torch.is_grad_enabled()
            and maps.dtype == torch.bfloat16
            and maps.device.type == "cpu"
            and maps.is_contiguous(memory_format=torch.channels_last)
            and self.weight.dtype == torch.float32
            and self.track_running_stats
            and self.num_batches_tracked is not None
            and self.momentum is not None
            and len(maps) > 0
            and maps[:, 0].numel() % _neighbours(self.num_features) == 0
        )
        if not quick:
            return super().forward(maps)
        self.num_batches_tracked.add_(1)
        statistics = self.running_mean, self.running_var, self.momentum, self.eps
        return self.act(self.drop(_Normalised.apply(maps, self.weight, self.bias, *statistics)))


class _Normalised(torch.autograd.Function):
    """Batch normalisation of channels-last maps [B, C, H, W] in training.

    The channels of neighbouring places count as channels of their own, so that their number is a multiple of what
    the kernels take at a time.
    """

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
    ) -> Tensor:
        n_channels, n = len(weight), maps[:, 0].numel()
        k = _neighbours(n_channels)
        wide = _widened(maps, k)
        # Statistics are float32 only where there are running ones to be updated.
        means, variances = torch.batch_norm_update_stats(wide, *_neutral(wide), 0.0)
        mean = means.view(k, n_channels).mean(0)
        variance = (variances + (means - mean.repeat(k)).square()).view(k, n_channels).mean(0)
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * (n / (n - 1)), momentum)
        ctx.save_for_backward(maps, weight, mean, (variance + eps).rsqrt())
        ctx.eps = eps
        parts = (part.repeat(k) for part in (weight, bias, mean, variance))
        answers = torch.native_batch_norm(wide, *parts, False, 0.0, eps)[0]
        return _narrowed(answers, maps).data  # no view: activations may change it in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, mean, inverse = ctx.saved_tensors
        n_channels, n = len(mean), maps[:, 0].numel()
        k = _neighbours(n_channels)
        wide_maps, wide = (_widened(part, k) for part in (maps, gradient))
        _, *sums = torch.ops.aten.native_batch_norm_backward(
            *(wide, wide_maps, weight.repeat(k), None, None, mean.repeat(k), inverse.repeat(k)),
            *(True, ctx.eps, [False, True, True]),
        )
        of_weight, of_bias = (part.view(k, n_channels).sum(0) for part in sums)
        # The input's gradient is scale * (gradient - of_bias / n - normalised * of_weight / n).
        scale = weight * inverse
        of_maps = _line(wide, scale, of_bias / n, k).sub_(
            _line(wide_maps, scale * inverse * of_weight / n, mean, k)
        )
        return _narrowed(of_maps, maps), of_weight, of_bias, None, None, None, None


def _line(wide: Tensor, slope: Tensor, centre: Tensor, k: int) -> Tensor:
    """Return slope * (maps - centre), by channel and rounded once, for what `_widened` made of maps."""
    zeros, ones = _neutral(wide)
    return torch.native_batch_norm(wide, slope.repeat(k), zeros, centre.repeat(k), ones, False, 0.0, 0.0)[0]


def _neighbours(n_channels: int) -> int:
    """Return how many places have a multiple of 16 channels together, and enough for long inner loops."""
    k = _LANES // math.gcd(n_channels, _LANES)
    while k * n_channels < _LONG:
        k *= 2
    return k


def _widened(maps: Tensor, k: int) -> Tensor:
    """View maps [B, C, H, W] as [1, k * C, B * H * W / k, 1], channels-last in memory."""
    rows = maps.permute(0, 2, 3, 1).reshape(1, -1, 1, k * maps.shape[1])
    return rows.permute(0, 3, 1, 2)


def _narrowed(wide: Tensor, maps: Tensor) -> Tensor:
    """View what `_widened` made of maps in their shape."""
    return wide.permute(0, 2, 3, 1).reshape(maps.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)


def _neutral(wide: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and variances that change nothing."""
    return torch.zeros(wide.shape[1]), torch.ones(wide.shape[1])
