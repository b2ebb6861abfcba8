"""The loops of batch normalisation in training, compiled when this module is imported.

A row of maps holds the channels of a place, or of several neighbours one after the other.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import carray
from torch import Tensor

from .loops import (
    barrier,
    check,
    f4,
    i8,
    kernel,
    line_row,
    loop,
    mine,
    n_threads,
    narrow,
    neighbours,
    plain_nan,
    run,
    sigmoid,
    thread_number,
    u2,
    wide,
)

_BLOCK = 128
"""Rows whose sum is kept in float32 before it goes to a float64.

Squares of bf16 have 16 bits. As many of a similar size are added without rounding, so that the variance is right where
the mean is far from zero: squares differ in size only where the variance is large.
"""


def normalise(
    maps: Tensor,
    layer: tuple[Tensor, Tensor, Tensor, Tensor],
    momentum: float,
    eps: float,
    silu: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Normalise each channel over all places, and update the running statistics in place.

    Args:
        maps: [..., C], contiguous, in bf16.
        layer: Weight, bias, running mean and running variance, [C] in float32.
        momentum: Part of the running statistics that is replaced.
        eps: Added to the variance.
        silu: Whether SiLU follows.

    Returns:
        The answers in bf16, the derivative of SiLU where they were computed (None without it), and the mean and the
        inverse standard deviation of each channel, [2, C] in float32.

    Raises:
        TypeError: A tensor is not as described.
    """
    check(torch.bfloat16, maps.numel(), maps)
    check(torch.float32, maps.shape[-1], *layer)
    answers, slopes = torch.empty_like(maps), torch.empty_like(maps) if silu else None
    statistics, (sizes, totals, work) = layer[0].new_empty(2, maps.shape[-1]), _room(maps)
    parts = maps, *layer, statistics, answers, slopes, (momentum, eps)
    run(_normalise, len(totals), (*sizes, silu), totals, work, *parts)
    return answers, slopes, statistics


def normalise_backward(
    maps: Tensor, weight: Tensor, statistics: Tensor, gradient: Tensor, slopes: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the maps, in bf16, and of weight and bias, [C] in float32.

    Args:
        maps: What `normalise` was given.
        weight: Its weight [C].
        statistics: What it returned.
        gradient: Gradient of its answers, [..., C], contiguous, in bf16.
        slopes: What it returned.

    Raises:
        TypeError: A tensor is not as described.
    """
    check(torch.bfloat16, maps.numel(), maps, gradient, *([] if slopes is None else [slopes]))
    check(torch.float32, maps.shape[-1], weight)
    check(torch.float32, 2 * maps.shape[-1], statistics)
    gradients = torch.empty_like(maps), torch.empty_like(weight), torch.empty_like(weight)
    (sizes, totals, work), silu = _room(maps), slopes is not None
    parts = maps, weight, statistics, gradient, slopes, *gradients
    run(_normalise_backward, len(totals), (*sizes, silu), totals, work, *parts)
    return gradients


def _room(maps: Tensor) -> tuple[tuple[int, int, int], Tensor, Tensor]:
    """Return numbers of rows, of their elements and of channels, and room for the sums and the work of each thread."""
    n_places, n_channels = maps.shape[:-1].numel(), maps.shape[-1]
    k = neighbours(n_places, n_channels)
    threads, width = torch.get_num_threads(), k * n_channels
    totals = torch.zeros(threads, 2, width, dtype=torch.float64, device="cpu")
    work = torch.zeros(threads + 1, 3, width, dtype=torch.float32, device="cpu")  # the last is of all
    return (n_places // k, width, n_channels), totals, work


@loop
def _add_row(row, sums, squares):
    for j in range(len(row)):
        one = wide(row[j])
        sums[j] += one
        squares[j] += one * one


@loop
def _normalise_row_with_silu(row, slope, offset, answers, slopes):
    for j in range(len(row)):
        z = wide(row[j]) * slope[j] + offset[j]
        gate = sigmoid(z)
        answer = z * gate
        answers[j] = narrow(answer)
        slopes[j] = narrow(gate + answer * (f4(1) - gate))


@loop
def _add_gradient_row(row, gradient, centre, sums, products):
    for j in range(len(row)):
        one = wide(gradient[j])
        sums[j] += one
        products[j] += one * (wide(row[j]) - centre[j])


@loop
def _add_gradient_row_with_silu(row, gradient, slopes, centre, sums, products):
    for j in range(len(row)):
        one = wide(gradient[j]) * wide(slopes[j])
        sums[j] += one
        products[j] += one * (wide(row[j]) - centre[j])


@loop
def _gradient_row(row, gradient, a, b, c, answers):
    for j in range(len(row)):
        answers[j] = narrow(wide(gradient[j]) * a[j] + wide(row[j]) * b[j] + c[j])


@loop
def _gradient_row_with_silu(row, gradient, slopes, a, b, c, answers):
    for j in range(len(row)):
        one = wide(gradient[j]) * wide(slopes[j])
        answers[j] = narrow(one * a[j] + wide(row[j]) * b[j] + c[j])


@loop
def _move(sums, totals):
    for j in range(len(sums)):
        totals[j] += sums[j]
        sums[j] = 0


@loop
def _of_channel(totals, channel, n_channels):
    """Return both sums of a channel, over all threads and neighbours."""
    first = second = 0.0
    for thread in range(len(totals)):
        for j in range(channel, totals.shape[2], n_channels):
            first += totals[thread, 0, j]
            second += totals[thread, 1, j]
    return first, second


@loop
def _settle(totals, places, weight, bias, running, numbers, statistics, line):
    """Turn sums into statistics, and these into the line that the answers are of the maps."""
    (running_mean, running_var), (momentum, eps), n_channels = running, numbers, len(weight)
    for c in range(n_channels):
        total, squares = _of_channel(totals, c, n_channels)
        mean = total / places
        variance = squares / places - mean * mean
        if variance < 0:  # by rounding
            variance = 0.0
        running_mean[c] += momentum * (mean - running_mean[c])
        running_var[c] += momentum * (variance * places / (places - 1) - running_var[c])
        inverse = 1 / np.sqrt(variance + eps)
        statistics[0, c], statistics[1, c] = mean, inverse
        for j in range(c, line.shape[1], n_channels):
            line[0, j] = plain_nan(f4(weight[c] * inverse))
            line[1, j] = plain_nan(f4(bias[c] - mean * weight[c] * inverse))


@loop
def _settle_backward(totals, places, weight, statistics, of_weight, of_bias, plane):
    """Turn sums into the gradients of weight and bias, and these into the plane that the maps' gradient is.

    It is slope * (gradient - of_bias / places - normalised * of_weight / places).
    """
    n_channels = len(weight)
    for c in range(n_channels):
        total, products = _of_channel(totals, c, n_channels)
        mean, inverse = statistics[0, c], statistics[1, c]
        of_weight[c], of_bias[c] = products * inverse, total
        slope = weight[c] * inverse
        lean = -slope * inverse * inverse * products / places
        for j in range(c, plane.shape[1], n_channels):
            plane[0, j], plane[1, j] = plain_nan(f4(slope)), plain_nan(f4(lean))
            plane[2, j] = plain_nan(f4(-slope * total / places - lean * mean))


@kernel
def _normalise(parts):
    n, width, n_channels, silu = carray(parts[0], 4, i8)
    thread, threads, (first, end) = thread_number(), n_threads(), mine(n)
    totals, work = (
        carray(parts[1], (threads, 2, width), np.float64),
        carray(parts[2], (threads + 1, 3, width), f4),
    )
    maps = carray(parts[3], (n, width), u2)
    sums, squares = work[thread, 0], work[thread, 1]
    for start in range(first, end, _BLOCK):
        for i in range(start, min(end, start + _BLOCK)):
            _add_row(maps[i], sums, squares)
        _move(sums, totals[thread, 0])
        _move(squares, totals[thread, 1])
    barrier()
    line = work[-1]
    if thread == 0:
        weight, bias = carray(parts[4], n_channels, f4), carray(parts[5], n_channels, f4)
        running = carray(parts[6], n_channels, f4), carray(parts[7], n_channels, f4)
        statistics, numbers = carray(parts[8], (2, n_channels), f4), carray(parts[11], 2, np.float64)
        places = n * width // n_channels
        _settle(totals, places, weight, bias, running, numbers, statistics, line)
    barrier()
    answers = carray(parts[9], (n, width), u2)
    if silu:
        slopes = carray(parts[10], (n, width), u2)
        for i in range(first, end):
            _normalise_row_with_silu(maps[i], line[0], line[1], answers[i], slopes[i])
    else:
        for i in range(first, end):
            line_row(maps[i], line[0], line[1], answers[i])


@kernel
def _normalise_backward(parts):
    n, width, n_channels, silu = carray(parts[0], 4, i8)
    thread, threads, (first, end) = thread_number(), n_threads(), mine(n)
    totals, work = (
        carray(parts[1], (threads, 2, width), np.float64),
        carray(parts[2], (threads + 1, 3, width), f4),
    )
    maps, weight = carray(parts[3], (n, width), u2), carray(parts[4], n_channels, f4)
    statistics, gradient = carray(parts[5], (2, n_channels), f4), carray(parts[6], (n, width), u2)
    slopes = carray(parts[7], (n, width), u2)  # at address 0, and not read, without SiLU
    of_maps = carray(parts[8], (n, width), u2)
    sums, products, centre = work[thread, 0], work[thread, 1], work[thread, 2]
    for j in range(width):
        centre[j] = statistics[0, j % n_channels]
    for start in range(first, end, _BLOCK):
        for i in range(start, min(end, start + _BLOCK)):
            if silu:
                _add_gradient_row_with_silu(maps[i], gradient[i], slopes[i], centre, sums, products)
            else:
                _add_gradient_row(maps[i], gradient[i], centre, sums, products)
        _move(sums, totals[thread, 0])
        _move(products, totals[thread, 1])
    barrier()
    plane = work[-1]
    if thread == 0:
        of_weight, of_bias = carray(parts[9], n_channels, f4), carray(parts[10], n_channels, f4)
        places = n * width // n_channels
        _settle_backward(totals, places, weight, statistics, of_weight, of_bias, plane)
    barrier()
    a, b, c = plane[0], plane[1], plane[2]
    for i in range(first, end):
        if silu:
            _gradient_row_with_silu(maps[i], gradient[i], slopes[i], a, b, c, of_maps[i])
        else:
            _gradient_row(maps[i], gradient[i], a, b, c, of_maps[i])
