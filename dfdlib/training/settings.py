"""Settings of a run: checked, frozen, and refused with a reason when a name or a value is wrong."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dfdlib.core.errors import DfdError, did_you_mean

Schedule = Literal["cosine", "one-cycle", "plateau", "constant"]
Balance = Literal["weights", "oversample", "downsample", "none"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class TrainConfig:
    """How `loop.fit` trains. Raises `DfdError` for a value out of its range."""

    epochs: int = 20
    """Passes over the training split."""
    batch_size: int = 32
    """Images an optimizer step, over all processes together."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.02
    """AdamW's decoupled weight decay; never applied to biases and normalisation layers."""
    schedule: Schedule = "cosine"
    """`cosine`: linear warm-up, then cosine to 1 %; `one-cycle`: Smith 2018; `plateau`: halved when the
    validation loss has not fallen for two epochs; `constant`."""
    warmup_fraction: float = 0.1
    """Part of all steps in which the learning rate rises (30 % is usual for `one-cycle`)."""
    clip_norm: float = 2.0
    """Largest norm of the gradient; 0 turns clipping off."""
    fake_loss_weight: float = 1.0
    """Weight of the real/fake loss (binary cross-entropy with logits)."""
    category_loss_weight: float = 0.3
    """Weight of the category loss (cross-entropy)."""
    label_smoothing: float = 0.0
    """Part of each real/fake target that is spread evenly over both classes (Szegedy et al. 2016)."""
    category_smoothing: float = 0.0
    """The same for the category."""
    balance: Balance = "weights"
    """Against imbalance: `weights` weighs both losses by inverse class frequency; `oversample` repeats
    images of the rarer label, `downsample` leaves out some of the commoner one, drawn anew each epoch."""
    freeze: int = 0
    """Stages of the backbone that stay as they are, from the image on; -1 for all of it."""
    layer_decay: float = 1.0
    """Learning rate of each stage of the backbone relative to the one above it."""
    accumulate: int = 1
    """Parts that a batch is cut into; their gradients add up to one optimizer step."""
    flip: bool = True
    """Mirror half of the training images, drawn for each image and epoch."""
    turn: bool = False
    """Turn the training images by random quarters of a circle as well."""
    shift: float = 0.0
    """Move the training images by up to this part of their side; 0 turns it off."""
    colour_jitter: float = 0.0
    """Vary brightness, contrast and colour of the training images by up to this part; 0 turns it off."""
    degrade: float = 0.0
    """Chance of each of resizing, blur and JPEG compression for a training image (CNNDetection)."""
    self_blend: float = 0.0
    """Chance that a real training image becomes a self-blended fake (Shiohara & Yamasaki 2022)."""
    mixup: float = 0.0
    """Alpha of mixup (Zhang et al. 2018): batches are blended with themselves; 0 turns it off."""
    precision: Precision = "auto"
    """`auto` measures fp32 against half precision for a second and takes the faster one."""
    ema_decay: float = 0.0
    """Decay of an exponential moving average of the weights that is evaluated instead; 0 turns it off."""
    monitor: Literal["auc", "loss"] = "auc"
    """What the best epoch is best at, on validation."""
    patience: int = 0
    """Stop after so many epochs without a better validation; 0 never stops early."""
    seed: int = 0
    """Seeds the order of the images, the augmentation and dropout."""
    workers: int = 0
    """Processes that decode images where they do not fit the cache; 0 for one a core."""
    tensorboard: bool = False
    """Write TensorBoard logs to `out_dir/tensorboard` as well."""

    def __post_init__(self) -> None:
        check_types(self)
        check_ranges(
            self,
            at_least={"epochs": 1, "batch_size": 1, "accumulate": 1, "freeze": -1}
            | dict.fromkeys(("patience", "workers", "seed"), 0),
            non_negative=("weight_decay", "clip_norm", "fake_loss_weight", "category_loss_weight", "mixup"),
        )
        for name in (
            "warmup_fraction",
            "ema_decay",
            "colour_jitter",
            "shift",
            "label_smoothing",
            "category_smoothing",
        ):
            if not 0 <= getattr(self, name) < 1:
                raise DfdError(f"`{name}` is {getattr(self, name)}; it must be at least 0 and below 1.")
        for name in ("degrade", "self_blend", "layer_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise DfdError(f"`{name}` is {getattr(self, name)}; it must be from 0 to 1.")
        if self.batch_size % self.accumulate:
            raise DfdError(
                f"`accumulate` is {self.accumulate}; it must divide `batch_size`, {self.batch_size}."
            )


def check_types(config: Any) -> None:
    """Refuse a field of another type than it is declared with. Raises `DfdError` that names it."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, wanted = getattr(config, field.name), hints[field.name]
        if typing.get_origin(wanted) is Literal:
            choices = typing.get_args(wanted)
            if value not in choices:
                hint = did_you_mean(value, choices)
                raise DfdError(f"`{field.name}` is {value!r}; it must be one of {', '.join(choices)}{hint}")
        elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
            object.__setattr__(config, field.name, float(value))
        elif not _has_type(value, wanted):
            note = " (YAML reads 1e-4 as text: write 1.0e-4)" if wanted is float else ""
            raise DfdError(f"`{field.name}` is {value!r}; it must be {_type_name(wanted)}{note}.")


def _has_type(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, types.UnionType):
        return any(_has_type(value, option) for option in typing.get_args(wanted))
    if wanted in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, wanted)


def _type_name(wanted: Any) -> str:
    return {int: "a whole number", float: "a number", str: "text", bool: "True or False"}.get(
        wanted, str(wanted)
    )


def check_ranges(config: Any, *, at_least: Mapping[str, int], non_negative: tuple[str, ...] = ()) -> None:
    """Refuse a field below its bound. Raises `DfdError` that names it."""
    bounds = {**at_least, **dict.fromkeys(non_negative, 0)}
    for name, low in bounds.items():
        value = getattr(config, name)
        if not value >= low:
            raise DfdError(f"`{name}` is {value}; it must be at least {low}.")
    if not 0 < getattr(config, "learning_rate", 1) < 10:
        raise DfdError(f"`learning_rate` is {config.learning_rate}; it must be above 0 and below 10.")
