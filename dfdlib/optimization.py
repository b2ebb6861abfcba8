"""What the optimizer is told: which weights decay, and the learning rate over time."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from .config import TrainConfig


def learning_rate_at(progress: float, config: TrainConfig) -> float:
    """Return the learning rate at a point of the training, `progress` in [0, 1]."""
    peak, warmup = config.learning_rate, config.warmup_fraction
    if config.schedule == "constant":
        return peak
    floor, start = (0.01, 0.0) if config.schedule == "cosine" else (1e-5, 0.04)
    if progress < warmup:
        rise = progress / warmup
        if config.schedule == "one-cycle":  # Smith & Topin 2018 (arXiv:1708.07120) with cosine legs
            rise = (1 - math.cos(math.pi * rise)) / 2
        return peak * max(start + (1 - start) * rise, 1e-3)
    fall = (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
    return peak * (floor + (1 - floor) * fall)


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trainable parameters for AdamW: biases and normalisation layers do not decay."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
