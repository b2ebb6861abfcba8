"""What the layers say of their derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def first_order(backward: Callable) -> Callable:
    """Refuse to differentiate a backward pass, whose second order `once_differentiable` may drop in silence."""

    @functools.wraps(backward)
    def checked(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError("dfdlib's quick layers have first derivatives only; drop create_graph=True.")
        return backward(ctx, *gradients)

    return checked
