"""What loops over bf16 maps are made of: Numba compiles them, PyTorch's threads run them.

A second set of threads would wait for the cores on which the first spins. OpenMP is asked for them as compilers ask
it, by the interface of libgomp, which LLVM's and Intel's libraries have too (gcc.gnu.org/onlinedocs/libgomp,
"Implementing PARALLEL construct").

Numba does not know `torch.bfloat16`: to it, maps are the upper halves of float32 numbers.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numba import cfunc, njit, types
from torch import Tensor
from torch.nn import Parameter

_LANES, _LONG = 16, 512
_ARITHMETIC = {"contract", "arcp", "afn"}  # NaN and infinity stay what they are
f4, i4, i8, u2, u4 = np.float32, np.int32, np.int64, np.uint16, np.uint32

barrier = types.ExternalFunction("GOMP_barrier", types.void())
thread_number = types.ExternalFunction("omp_get_thread_num", types.int32())
n_threads = types.ExternalFunction("omp_get_num_threads", types.int32())
_run = ctypes.CDLL(None).GOMP_parallel
_run.argtypes, _run.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None


def neighbours(n_places: int, n_channels: int) -> int:
    """Return how many neighbouring places are to share a row.

    So many that its length is a multiple of what a processor takes at a time, and long enough for an inner loop,
    where they share all places.
    """
    k = _LANES // math.gcd(n_channels, _LANES)
    while k * n_channels < _LONG:
        k *= 2
    while n_places % k:
        k //= 2
    return k


def loop(function: Callable) -> Callable:
    """Compile a function that kernels call. LLVM makes vectors of loops over a row in functions of their own only."""
    return njit(fastmath=_ARITHMETIC, error_model="numpy")(function)


def kernel(function: Callable[[Sequence[int]], None]) -> cfunc:
    """Compile a function of addresses, to be run by every thread of `run`."""
    addresses = types.CPointer(types.voidptr)
    return cfunc(types.void(addresses), fastmath=_ARITHMETIC, error_model="numpy")(function)


def check(dtype: torch.dtype, size: int, *tensors: Tensor) -> None:
    """Refuse tensors that are not what a kernel takes them for; it would read and write elsewhere.

    Raises:
        TypeError: A tensor is of another type or number of elements, has gaps or is not in the CPU's memory.
    """
    for tensor in tensors:
        plain = type(tensor) in (Tensor, Parameter) and tensor.device.type == "cpu" and tensor.is_contiguous()
        if not plain or tensor.dtype != dtype or tensor.numel() != size:
            raise TypeError(f"compiled loops take {size} contiguous {dtype} on the CPU, not {tensor!r:.200}")


def run(kernel: cfunc, threads: int, sizes: Sequence[int], *parts: Tensor | Sequence[float] | None) -> None:
    """Run a kernel in PyTorch's threads.

    Args:
        kernel: What `kernel` compiled. It is given the addresses of the sizes, as int64, and of the parts.
        threads: How many are to run it; OpenMP may have fewer.
        sizes: Sizes and flags.
        parts: Contiguous tensors; numbers, as float64; None becomes address 0.
    """
    kept = [(ctypes.c_int64 * len(sizes))(*sizes)]
    addresses = [ctypes.addressof(kept[0])]
    for part in parts:
        if isinstance(part, Tensor) or part is None:
            addresses.append(part if part is None else part.data_ptr())
        else:
            kept.append((ctypes.c_double * len(part))(*part))
            addresses.append(ctypes.addressof(kept[-1]))
    every = (ctypes.c_void_p * len(addresses))(*addresses)
    _run(kernel.address, ctypes.addressof(every), threads, 0)


@loop
def wide(half: int) -> float:
    """Return the float32 number of which a bf16 one is the upper half."""
    return u4(u4(half) << u4(16)).view(f4)


@loop
def narrow(number: float) -> int:
    """Round to the nearest bf16. The lower half of NaN is to be 0 (`plain_nan`).

    Of two as near, to the one farther from 0: hardly a product with a float32 lies between two, and to the even one
    takes a third longer.
    """
    return u2(u4(f4(number).view(u4) + u4(0x8000)) >> u4(16))


@loop
def plain_nan(number: float) -> float:
    """Return the number; for any NaN, one that `narrow` leaves one."""
    return number if number == number else f4(np.nan)


@loop
def line_row(row: np.ndarray, slope: np.ndarray, offset: np.ndarray, answers: np.ndarray) -> None:
    """Write slope * row + offset, rounded once, for a row of bf16; slope and offset are as long, in float32."""
    for j in range(len(row)):
        answers[j] = narrow(wide(row[j]) * slope[j] + offset[j])


@loop
def sigmoid(z: float) -> float:
    """Return 1 / (1 + exp(-z)), with a relative error below 1e-4 from -86 on, where bf16 rounds by 4e-3."""
    power = min(
        max(z * f4(-1.442695) + f4(127.5), f4(1)), f4(255)
    )  # 2 ** (255 - 127) is infinity: gates are 0 below -88
    whole = i4(power)
    rest = power - f4(whole)
    # 2 ** (rest - 0.5) by the polynomial of the smallest relative error (linear programming), 7.5e-5
    value = f4(0.49202845) + rest * (f4(0.15985366) + rest * f4(0.0551718))
    value = f4(0.70705391) + rest * value
    return f4(1) / (f4(1) + value * u4(u4(whole) << u4(23)).view(f4))


@loop
def mine(n: int) -> tuple[int, int]:
    """Return the first of n that is this thread's, and the one after its last."""
    return n * thread_number() // n_threads(), n * (thread_number() + 1) // n_threads()
