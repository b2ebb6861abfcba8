"""dfdlib: train a detector of fake images, judge it honestly, and see why it decided so.

The import is light; what needs PyTorch is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from .errors import DfdError

__version__ = "0.1.0"

_LAZY = {
    "create_detector": "models",
    "fit": "training",
    "load_detector": "checkpoint",
    "open_data": "manifest",
    "predict": "inference",
    "save_detector": "checkpoint",
}

__all__ = ["DfdError", "__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
