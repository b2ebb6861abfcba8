"""The machine: device, memory allocator, seeds and versions."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import random
import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def setup(seed: int = 0) -> torch.device:
    """Prepare the process for training and return its device: CUDA, Apple MPS or CPU.

    Seeds Python, NumPy and PyTorch, and keeps freed memory in the process (see `keep_freed_memory`).
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    keep_freed_memory()
    return best_device()


def best_device() -> torch.device:
    """Return where to train: CUDA, Apple MPS or CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@functools.cache
def keep_freed_memory() -> None:
    """Stop glibc from returning large blocks to the system after each operation; nothing on other systems.

    Activations are freed and asked for again every step, and the page faults cost a CPU up to half of its
    training time. All threads share the blocks, so that one needs none of its own for what another freed.
    The peak of the memory use stays the same.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
            libc.mallopt(_M_ARENA_MAX, 1)


_PACKAGES = ("dfdlib", "torch", "torchvision", "timm", "accelerate", "numpy", "pandas", "scikit-learn")


def versions() -> dict[str, Any]:
    """Return the versions of Python, the libraries, the machine and the git commit."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found | {"machine": f"{cpu_name()}, {os.cpu_count()} cores", "commit": _commit()}


def command() -> str | None:
    """Return the command line that this process was started by; None in the kernel of a notebook."""
    program = Path(sys.argv[0])
    if program.name == "ipykernel_launcher.py":
        return None
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else program.name
    return f"{name} {shlex.join(sys.argv[1:])}".strip()


def cpu_name() -> str:
    """Return the processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: *(.+)", info.read_text(), re.MULTILINE) if info.is_file() else None
    return named.group(1) if named else platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit of the checkout that dfdlib runs from; None for an installed package."""
    checkout = Path(__file__).parents[2]
    if not (
        checkout / ".git"
    ).exists():  # git itself would search on, up to a repository around site-packages
        return None
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=checkout,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # never in the way of a commit in progress
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
