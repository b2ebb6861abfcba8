"""The loops of squeeze-and-excitation in training, compiled when this module is imported.

Maps are [B, n, C] in bf16: B images of n places.
"""

from __future__ import annotations

import torch
from numba import carray
from torch import Tensor

from .loops import check, f4, i8, kernel, line_row, loop, mine, neighbours, plain_nan, run, u2, wide


def sums_over_places(maps: Tensor, factors: Tensor | None = None) -> Tensor:
    """Return the sums [B, C], in float32, of contiguous maps over their places; of maps * factors, where given."""
    n_images, n, n_channels = maps.shape
    k = neighbours(n, n_channels)
    sizes, sums = (
        (n_images, n // k, k * n_channels, factors is not None),
        torch.zeros(n_images, k, n_channels),
    )
    run(_sums, torch.get_num_threads(), sizes, maps, factors, sums)
    return sums.sum(1)


def line(maps: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Return slope * maps + offset, rounded once, for contiguous maps; slope and offset are [B, C] in float32."""
    n_images, n, n_channels = maps.shape
    k = neighbours(n, n_channels)
    check(torch.bfloat16, maps.numel(), maps)
    check(torch.float32, n_images * n_channels, slope, offset)
    sizes, answers = (n_images, n // k, k * n_channels), torch.empty_like(maps)
    run(_line, torch.get_num_threads(), sizes, maps, slope.repeat(1, k), offset.repeat(1, k), answers)
    return answers


@loop
def _add_row(row, sums):
    for j in range(len(row)):
        sums[j] += wide(row[j])


@loop
def _add_product_row(row, factors, sums):
    for j in range(len(row)):
        sums[j] += wide(row[j]) * wide(factors[j])


@kernel
def _sums(parts):
    n_images, n, n_channels, has_factors = carray(parts[0], 4, i8)
    shape = n_images, n, n_channels
    maps, factors = (
        carray(parts[1], shape, u2),
        carray(parts[2], shape, u2),
    )  # at address 0 where there are none
    sums = carray(parts[3], (n_images, n_channels), f4)
    first, end = mine(n_images)
    for b in range(first, end):
        for i in range(n):
            if has_factors:
                _add_product_row(maps[b, i], factors[b, i], sums[b])
            else:
                _add_row(maps[b, i], sums[b])


@kernel
def _line(parts):
    n_images, n, n_channels = carray(parts[0], 3, i8)
    shape = n_images, n, n_channels
    maps, answers = carray(parts[1], shape, u2), carray(parts[4], shape, u2)
    slope, offset = carray(parts[2], shape[::2], f4), carray(parts[3], shape[::2], f4)
    first, end = mine(n_images)
    for b in range(first, end):
        for j in range(n_channels):
            slope[b, j], offset[b, j] = plain_nan(slope[b, j]), plain_nan(offset[b, j])
        for i in range(n):
            line_row(maps[b, i], slope[b], offset[b], answers[b, i])
