"""Settings of a run: checked, frozen, and refused with a reason when a name or a value is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from dfdlib.core.errors import DfdError, did_you_mean, unknown


def _number(value: Any) -> Any:
    """Read a number that is text: for YAML, 1e-4 is."""
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value


# The types of settings, with their ranges.
Number = Annotated[float, BeforeValidator(_number)]
Weight = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Probability = Annotated[Number, Field(ge=0, le=1)]
LearningRate = Annotated[Number, Field(gt=0, lt=10)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Freeze = Annotated[int, Field(ge=-1)] | Literal["norm"]

Schedule = Literal["cosine", "one-cycle", "plateau", "constant"]
Balance = Literal["weights", "oversample", "downsample", "none"]
Augment = Literal["none", "light", "forensic", "faces"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

_MUST_BE = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "True or False",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "above {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "below {lt:g}",
}


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Settings:
    """Base of settings: pydantic checks names, types and ranges; what it finds becomes a `DfdError`."""

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, given: Any, check: Callable[[Any], Any]) -> Any:
        try:
            return check(given)
        except ValidationError as error:
            problems = sorted(error.errors(), key=lambda one: one["type"] != "unexpected_keyword_argument")
            raise _refusal(problems, list(cls.__dataclass_fields__)) from None


def _refusal(problems: Sequence[Any], names: list[str]) -> DfdError:
    """Return the sentence that names the first wrong field, the value found and what it must be."""
    problem = problems[0]
    name, kind = problem["loc"][0], problem["type"]
    if kind == "unexpected_keyword_argument":
        return unknown("parameter", name, names)
    if kind == "missing":
        return DfdError(f"`{name}` must be set.")
    wanted = " or ".join(_must_be(each) for each in problems if each["loc"][0] == name)
    hint = ""
    if kind == "literal_error":
        hint = did_you_mean(problem["input"], re.findall("'(.+?)'", problem["ctx"]["expected"]))
    return DfdError(f"`{name}` is {problem['input']!r}; it must be {wanted}{hint or '.'}")


def _must_be(problem: Any) -> str:
    if problem["type"] == "literal_error":
        choices = re.findall("'(.+?)'", problem["ctx"]["expected"])
        return f"one of {', '.join(choices)}" if len(choices) > 1 else f"`{choices[0]}`"
    return _MUST_BE[problem["type"]].format(**problem.get("ctx", {}))


@dataclass(frozen=True)
class TrainConfig(Settings):
    """How `loop.fit` trains."""

    epochs: Count = 20
    """Passes over the training split."""
    batch_size: Count = 16
    """Images per optimizer step, over all processes together."""
    learning_rate: LearningRate = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: Weight = 0.02
    """AdamW's decoupled weight decay; never applied to biases and normalisation layers."""
    schedule: Schedule = "cosine"
    """`cosine`: linear warm-up, then cosine to 1 %; `one-cycle`: Smith 2018; `constant`;
    `plateau`: halved when the validation loss has not fallen for two epochs."""
    warmup_fraction: Share = 0.1
    """Share of all steps in which the learning rate rises (30 % is usual for `one-cycle`)."""
    clip_norm: Weight = 2.0
    """Largest norm of the gradient; 0 turns clipping off."""
    fake_loss_weight: Weight = 1.0
    """Weight of the real/fake loss (binary cross-entropy with logits)."""
    category_loss_weight: Weight = 0.3
    """Weight of the category loss (cross-entropy)."""
    label_smoothing: Share = 0.0
    """Share of each real/fake target that is spread evenly over both classes (Szegedy et al. 2016)."""
    category_smoothing: Share = 0.0
    """Share of each category target that is spread evenly over the categories."""
    balance: Balance = "weights"
    """Against class imbalance: `weights` weights both losses by inverse class frequency; each epoch anew,
    `oversample` repeats images of the rarer label, `downsample` leaves out images of the commoner one."""
    freeze: Freeze = 0
    """Stages of the backbone to freeze, counted from the input; -1 freezes all of it, `norm` all but its
    normalisation layers, as suits large vision transformers (Yermakov et al. 2025, arXiv:2508.06248)."""
    layer_decay: Probability = 1.0
    """Learning rate of each stage of the backbone relative to the stage above it."""
    accumulate: Count = 1
    """Parts that a batch is split into; their gradients add up to one optimizer step."""
    augment: Augment = "light"
    """How training images are varied: a row of `augment.PRESETS`. The settings up to `self_blend` override single
    operations of it."""
    flip: bool | None = None
    """Mirror half of the training images, drawn for each image and epoch."""
    turn: Probability | None = None
    """Probability of turning a training image by a random multiple of 90 degrees."""
    shift: Share | None = None
    """Shift the training images by up to this share of their side."""
    colour_jitter: Share | None = None
    """Vary brightness, contrast and colour of the training images by up to this share."""
    crop: Probability | None = None
    """Probability of cutting out a random part of a training image and resampling it to the old size."""
    degrade: Probability | None = None
    """Probability of each of resizing, blur, noise, JPEG compression and a second one."""
    grey: Probability | None = None
    """Probability of taking the colour out of a training image."""
    erase: Probability | None = None
    """Probability of filling a random rectangle of a training image with its mean colour (cut-out)."""
    self_blend: Probability | None = None
    """Probability that a real training image becomes a self-blended fake (Shiohara & Yamasaki 2022)."""
    mixup: Weight = 0.0
    """Alpha of mixup (Zhang et al. 2018): batches are blended with themselves; 0 turns it off."""
    precision: Precision = "auto"
    """`auto` takes what the machine can do, see `precision.choose_precision`."""
    ema_decay: Share = 0.0
    """Decay of an exponential moving average of the weights that is evaluated instead; 0 turns it off."""
    monitor: Literal["auc", "loss"] = "auc"
    """Validation metric that decides which epoch is the best."""
    patience: CountOrZero = 0
    """Stop after this many epochs without a better validation metric; 0 never stops early."""
    seed: CountOrZero = 0
    """Seeds the order of the images, the augmentation and dropout."""
    workers: CountOrZero = 0
    """Processes that decode images that do not fit into the cache; 0 for one per core."""
    tensorboard: bool = False
    """Write TensorBoard logs to `out_dir/tensorboard` as well."""

    def __post_init__(self) -> None:
        if self.batch_size % self.accumulate:
            raise DfdError(
                f"`accumulate` is {self.accumulate}; it must divide `batch_size`, {self.batch_size}."
            )
