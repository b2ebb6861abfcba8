"""Loops over bf16 maps that read them less often than PyTorch's, compiled by Numba when this module is imported.

They run in the threads that PyTorch's own loops run in, as a second set of threads would wait for the cores on which
the first spins. OpenMP is asked for them as compilers ask it, by the interface of libgomp, which LLVM's and Intel's
libraries have too (gcc.gnu.org/onlinedocs/libgomp, "Implementing PARALLEL construct").

Maps are rows [n, width] of `torch.bfloat16`, which Numba does not know: to it they are the upper halves of float32
numbers. A row holds the channels of a place, or of several neighbours one after the other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import torch
from numba import carray, cfunc, njit, types
from torch import Tensor

_BLOCK = 128
"""Rows whose sum is kept in float32 before it goes to a float64."""
_ARITHMETIC = {"contract", "arcp", "afn"}  # NaN and infinity stay what they are
_f4, _i4, _u2, _u4 = np.float32, np.int32, np.uint16, np.uint32

_barrier = types.ExternalFunction("GOMP_barrier", types.void())
_thread = types.ExternalFunction("omp_get_thread_num", types.int32())
_threads = types.ExternalFunction("omp_get_num_threads", types.int32())
_run = ctypes.CDLL(None).GOMP_parallel
_run.argtypes, _run.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None


def normalise(
    maps: Tensor,
    layer: tuple[Tensor, Tensor, Tensor, Tensor],
    momentum: float,
    eps: float,
    silu: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Normalise each channel over all places, and update the running statistics in place.

    Args:
        maps: Rows [n, width], contiguous, in bf16.
        layer: Weight, bias, running mean and running variance, [C] in float32.
        momentum: Part of the running statistics that is replaced.
        eps: Added to the variance.
        silu: Whether SiLU follows.

    Returns:
        The answers in bf16, the derivative of SiLU where they were computed (None without it), and the mean and the
        inverse standard deviation of each channel, [2, C] in float32.
    """
    answers, slopes = torch.empty_like(maps), torch.empty_like(maps) if silu else None
    statistics = torch.empty(2, len(layer[0]))
    numbers = (ctypes.c_double * 2)(momentum, eps)
    _call(_normalise, silu, maps, *layer, statistics, answers, slopes, ctypes.addressof(numbers))
    return answers, slopes, statistics


def normalise_backward(
    maps: Tensor, weight: Tensor, statistics: Tensor, gradient: Tensor, slopes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the maps, in bf16, and of weight and bias, [2, C] in float32.

    Args:
        maps: What `normalise` was given.
        weight: Its weight [C].
        statistics: What it returned.
        gradient: Gradient of its answers, contiguous rows [n, width] in bf16.
        slopes: What it returned.
    """
    of_maps, of_layer = torch.empty_like(maps), torch.empty(2, len(weight))
    silu = slopes is not None
    _call(_normalise_backward, silu, maps, weight, statistics, gradient, slopes, of_maps, of_layer)
    return of_maps, of_layer


def _call(kernel: cfunc, silu: bool, maps: Tensor, weight: Tensor, *others: Tensor | int | None) -> None:
    threads, (n, width) = torch.get_num_threads(), maps.shape
    sizes = (ctypes.c_int64 * 4)(n, width, len(weight), silu)
    totals = torch.zeros(threads, 2, width, dtype=torch.float64)
    work = torch.zeros(threads + 1, 3, width)
    every = (ctypes.addressof(sizes), totals, work, maps, weight, *others)
    addresses = (part.data_ptr() if isinstance(part, Tensor) else part for part in every)
    parts = (ctypes.c_void_p * len(every))(*addresses)
    _run(kernel.address, ctypes.addressof(parts), threads, 0)


def _loop(function: Callable) -> Callable:
    return njit(fastmath=_ARITHMETIC, error_model="numpy")(function)


def _kernel(function: Callable) -> cfunc:
    """Compile what every thread of `_call` runs, given the addresses of all parts."""
    addresses = types.CPointer(types.voidptr)
    return cfunc(types.void(addresses), fastmath=_ARITHMETIC, error_model="numpy")(function)


@_loop
def _wide(half):
    return _u4(_u4(half) << _u4(16)).view(_f4)


@_loop
def _narrow(number):
    """Round to the nearest bf16; of two as near, to the larger one."""
    return _u2((_f4(number).view(_u4) + _u4(0x8000)) >> _u4(16))


@_loop
def _sigmoid(z):
    """Return 1 / (1 + exp(-z)), with a relative error below 1e-5, where bf16 rounds by 4e-3."""
    power = min(max(z * _f4(-1.442695) + _f4(127.5), _f4(1)), _f4(253))
    whole = _i4(power)
    rest = power - _f4(whole)
    # 2 ** (rest - 0.5) by the polynomial of the smallest relative error (linear programming), 2.6e-6
    value = _f4(0.49002737) + rest * (_f4(0.17072715) + rest * (_f4(0.03677574) + rest * _f4(0.009570998)))
    value = _f4(0.70710864) + rest * value
    return _f4(1) / (_f4(1) + value * _u4(_u4(whole) << _u4(23)).view(_f4))


# The loops over a row are functions of their own: LLVM makes vectors of them all only then.


@_loop
def _add_row(row, centre, sums, squares):
    for j in range(len(row)):
        one = _wide(row[j]) - centre[j]
        sums[j] += one
        squares[j] += one * one


@_loop
def _normalise_row(row, slope, offset, answers):
    for j in range(len(row)):
        answers[j] = _narrow(_wide(row[j]) * slope[j] + offset[j])


@_loop
def _normalise_row_with_silu(row, slope, offset, answers, slopes):
    for j in range(len(row)):
        z = _wide(row[j]) * slope[j] + offset[j]
        gate = _sigmoid(z)
        answer = z * gate
        answers[j] = _narrow(answer)
        slopes[j] = _narrow(gate + answer * (_f4(1) - gate))


@_loop
def _add_gradient_row(row, gradient, centre, sums, products):
    for j in range(len(row)):
        one = _wide(gradient[j])
        sums[j] += one
        products[j] += one * (_wide(row[j]) - centre[j])


@_loop
def _add_gradient_row_with_silu(row, gradient, slopes, centre, sums, products):
    for j in range(len(row)):
        one = _wide(gradient[j]) * _wide(slopes[j])
        sums[j] += one
        products[j] += one * (_wide(row[j]) - centre[j])


@_loop
def _gradient_row(row, gradient, a, b, c, answers):
    for j in range(len(row)):
        answers[j] = _narrow(_wide(gradient[j]) * a[j] + _wide(row[j]) * b[j] + c[j])


@_loop
def _gradient_row_with_silu(row, gradient, slopes, a, b, c, answers):
    for j in range(len(row)):
        one = _wide(gradient[j]) * _wide(slopes[j])
        answers[j] = _narrow(one * a[j] + _wide(row[j]) * b[j] + c[j])


@_loop
def _move(sums, totals):
    for j in range(len(sums)):
        totals[j] += sums[j]
        sums[j] = 0


@_loop
def _of_channel(totals, channel, n_channels):
    """Return both sums of a channel, over all threads and neighbours."""
    first = second = 0.0
    for thread in range(len(totals)):
        for j in range(channel, totals.shape[2], n_channels):
            first += totals[thread, 0, j]
            second += totals[thread, 1, j]
    return first, second


@_loop
def _settle(totals, places, centre, weight, bias, running, numbers, statistics, line):
    """Turn sums into statistics, and these into the line that the answers are of the maps."""
    (running_mean, running_var), (momentum, eps), n_channels = running, numbers, len(weight)
    for c in range(n_channels):
        total, squares = _of_channel(totals, c, n_channels)
        shift = total / places
        mean, variance = centre[c] + shift, squares / places - shift * shift
        if variance < 0:  # by rounding
            variance = 0.0
        running_mean[c] += momentum * (mean - running_mean[c])
        running_var[c] += momentum * (variance * places / (places - 1) - running_var[c])
        inverse = 1 / np.sqrt(variance + eps)
        statistics[0, c], statistics[1, c] = mean, inverse
        for j in range(c, line.shape[1], n_channels):
            line[0, j] = weight[c] * inverse
            line[1, j] = bias[c] - mean * weight[c] * inverse


@_loop
def _settle_backward(totals, places, weight, statistics, of_layer, plane):
    """Turn sums into the gradients of weight and bias, and these into the plane that the maps' gradient is.

    It is slope * (gradient - of_bias / places - normalised * of_weight / places).
    """
    n_channels = len(weight)
    for c in range(n_channels):
        of_bias, products = _of_channel(totals, c, n_channels)
        mean, inverse = statistics[0, c], statistics[1, c]
        of_weight = products * inverse
        of_layer[0, c], of_layer[1, c] = of_weight, of_bias
        slope = weight[c] * inverse
        lean = -slope * inverse * of_weight / places
        for j in range(c, plane.shape[1], n_channels):
            plane[0, j], plane[1, j] = slope, lean
            plane[2, j] = -slope * of_bias / places - lean * mean


@_loop
def _shared(parts):
    """Return sizes, this thread's part of the rows and its number, totals, and work [threads + 1, 3, width]."""
    n, width, n_channels, silu = carray(parts[0], 4, np.int64)
    thread, threads = _thread(), _threads()
    rows = n * thread // threads, n * (thread + 1) // threads
    totals = carray(parts[1], (threads, 2, width), np.float64)
    return (n, width, n_channels), silu, rows, thread, totals, carray(parts[2], (threads + 1, 3, width), _f4)


@_kernel
def _normalise(parts):
    (n, width, n_channels), silu, (first, end), thread, totals, work = _shared(parts)
    maps = carray(parts[3], (n, width), _u2)
    sums, squares, centre = work[thread, 0], work[thread, 1], work[thread, 2]
    for j in range(width):
        centre[j] = _wide(maps[0, j % n_channels])  # near the mean, so that squares stay small
    for start in range(first, end, _BLOCK):
        for i in range(start, min(end, start + _BLOCK)):
            _add_row(maps[i], centre, sums, squares)
        _move(sums, totals[thread, 0])
        _move(squares, totals[thread, 1])
    _barrier()
    line = work[-1]
    if thread == 0:
        weight, bias = carray(parts[4], n_channels, _f4), carray(parts[5], n_channels, _f4)
        running = carray(parts[6], n_channels, _f4), carray(parts[7], n_channels, _f4)
        statistics, numbers = carray(parts[8], (2, n_channels), _f4), carray(parts[11], 2, np.float64)
        places = n * width // n_channels
        _settle(totals, places, centre, weight, bias, running, numbers, statistics, line)
    _barrier()
    answers = carray(parts[9], (n, width), _u2)
    if silu:
        slopes = carray(parts[10], (n, width), _u2)
        for i in range(first, end):
            _normalise_row_with_silu(maps[i], line[0], line[1], answers[i], slopes[i])
    else:
        for i in range(first, end):
            _normalise_row(maps[i], line[0], line[1], answers[i])


@_kernel
def _normalise_backward(parts):
    (n, width, n_channels), silu, (first, end), thread, totals, work = _shared(parts)
    maps, weight = carray(parts[3], (n, width), _u2), carray(parts[4], n_channels, _f4)
    statistics, gradient = carray(parts[5], (2, n_channels), _f4), carray(parts[6], (n, width), _u2)
    slopes = carray(parts[7], (n, width), _u2)  # at address 0, and not read, without SiLU
    of_maps, of_layer = carray(parts[8], (n, width), _u2), carray(parts[9], (2, n_channels), _f4)
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
    _barrier()
    plane = work[-1]
    if thread == 0:
        _settle_backward(totals, n * width // n_channels, weight, statistics, of_layer, plane)
    _barrier()
    a, b, c = plane[0], plane[1], plane[2]
    for i in range(first, end):
        if silu:
            _gradient_row_with_silu(maps[i], gradient[i], slopes[i], a, b, c, of_maps[i])
        else:
            _gradient_row(maps[i], gradient[i], a, b, c, of_maps[i])
