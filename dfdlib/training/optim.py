"""What the optimizer is told: which weights train and decay, and the learning rate over time."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dfdlib.core.errors import DfdError
from dfdlib.models.backbones import stage_of
from dfdlib.training.settings import TrainConfig


def learning_rate_at(progress: float, config: TrainConfig, halvings: int = 0) -> float:
    """Return the learning rate at a point of the training.

    Args:
        progress: Part of the training that is done, in [0, 1].
        config: Schedule, peak and warm-up.
        halvings: How often the validation loss has stalled; `plateau` alone heeds it.
    """
    peak, warmup = config.learning_rate, config.warmup_fraction
    if config.schedule == "constant":
        return peak
    if config.schedule == "plateau":
        return peak * 0.5**halvings
    floor, start = (0.01, 0.0) if config.schedule == "cosine" else (1e-5, 0.04)
    if progress < warmup:
        rise = progress / warmup
        if config.schedule == "one-cycle":  # Smith & Topin 2018 (arXiv:1708.07120) with cosine legs
            rise = (1 - math.cos(math.pi * rise)) / 2
        return peak * max(start + (1 - start) * rise, 1e-3)
    fall = (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
    return peak * (floor + (1 - floor) * fall)


def freeze_stages(network: nn.Module, stages: int | Literal["norm"]) -> None:
    """Exclude weights of a network's backbone from training, in place, see `TrainConfig.freeze`.

    Raises:
        DfdError: The network has no backbone, not so many stages, or no normalisation layers.
    """
    if not stages:
        return
    if not hasattr(network, "backbone"):
        raise DfdError(f"{type(network).__name__} has no backbone to freeze; set freeze=0.")
    if stages == "norm":
        _freeze_all_but_norms(network.backbone)
        return
    stage, parameters = stage_of(network.backbone), dict(network.backbone.named_parameters())
    n_stages = max(stage.values()) + 1
    if stages > n_stages:
        raise DfdError(f"`freeze` is {stages}, and this backbone has {n_stages} stages; -1 freezes them all.")
    for name, parameter in parameters.items():
        parameter.requires_grad = 0 <= stages <= stage[name]


def _freeze_all_but_norms(backbone: nn.Module) -> None:
    norms = [module for module in backbone.modules() if "norm" in type(module).__name__.lower()]
    weights = [weight for module in norms for weight in module.parameters(recurse=False)]
    if not weights:
        raise DfdError(
            "this backbone has no normalisation layers to train; set `freeze` to a number of stages."
        )
    backbone.requires_grad_(False)
    for weight in weights:
        weight.requires_grad = True


def train_mode(network: nn.Module) -> None:
    """Put a network into training mode, but for the statistics of batch normalisations that are frozen."""
    network.train()
    keep_inputs(network)  # PyTorch would copy those of activations for the backward pass, 4 % of a step
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.affine and not module.weight.requires_grad:
            module.eval()


def keep_inputs(network: nn.Module) -> None:
    """Stop the activations of a network from working in place, in place.

    In bf16 on a CPU, ReLU in place takes twice the time of one that writes elsewhere once maps leave the caches.
    """
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False


def parameter_groups(
    network: nn.Module, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Group the trainable parameters for AdamW.

    Biases and normalisation layers do not decay. The learning rate of a group is to be multiplied by its
    `lr_scale`: `layer_decay` once more for each stage of the backbone from the heads down to the image
    (Howard & Ruder 2018, arXiv:1801.06146).
    """
    stage: dict[int, int] = {}
    if hasattr(network, "backbone") and layer_decay != 1:
        numbers = stage_of(network.backbone)
        stage = {id(weight): numbers[name] for name, weight in network.backbone.named_parameters()}
    n_stages = max(stage.values(), default=-1) + 1
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            scale, decays = layer_decay ** (n_stages - stage.get(id(parameter), n_stages)), parameter.ndim > 1
            group = {"params": [], "weight_decay": weight_decay if decays else 0.0, "lr_scale": scale}
            groups.setdefault((scale, decays), group)["params"].append(parameter)
    return list(groups.values())
