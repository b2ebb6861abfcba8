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

    It takes Numba, and threads of PyTorch's that answer to libgomp's names. It is compiled at the first call, for
    one to three seconds.
    """
    if sys.platform != "linux" or not torch.backends.openmp.is_available():
        return None
    if not hasattr(ctypes.CDLL(None), "GOMP_parallel"):
        return None
    try:
        return importlib.import_module(f".{module}", __package__)
    except ImportError as error:  # such as of a NumPy that Numba does not know yet
        _warn(str(error))
        return None


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(f"Training in bf16 takes about a fifth longer without Numba: {reason}", stacklevel=3)
