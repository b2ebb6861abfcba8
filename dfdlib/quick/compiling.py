"""Whether this machine compiles loops, and where."""

from __future__ import annotations

import ctypes
import functools
import importlib
import sys
import warnings
from types import ModuleType

import torch


@functools.cache
def compiled(module: str) -> ModuleType | None:
    """Return a module of compiled loops, by its name in this package; None where it cannot be had.

    It takes Numba, and threads of PyTorch's that answer to libgomp's names. Compiling takes one to three seconds
    and up to 170 MB, once a process.
    """
    if sys.platform != "linux" or not torch.backends.openmp.is_available():
        return None
    if not hasattr(ctypes.CDLL(None), "GOMP_parallel"):
        return None
    try:
        return importlib.import_module(f".{module}", __package__)
    except Exception as error:  # a NumPy that Numba does not know yet, a broken LLVM
        _warn(str(error))
        return None


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(
        f"Numba compiles nothing here, and training in bf16 is slower without it: {reason}", stacklevel=3
    )
