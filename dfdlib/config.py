"""Settings of a run: checked, frozen, and refused with a reason when a name or a value is wrong."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from .errors import DfdError, did_you_mean

Schedule = Literal["cosine", "one-cycle", "plateau", "constant"]
Balance = Literal["weights", "oversample", "downsample", "none"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Run = TypeVar("Run", bound="NotebookRun")


@dataclass(frozen=True)
class TrainConfig:
    """How `training.fit` trains. Raises `DfdError` for a value out of its range."""

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
    """Part of each training target that is spread evenly over the classes (Szegedy et al. 2016)."""
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
        _check_types(self)
        _check_ranges(
            self,
            at_least={"epochs": 1, "batch_size": 1, "accumulate": 1, "freeze": -1}
            | dict.fromkeys(("patience", "workers", "seed"), 0),
            non_negative=("weight_decay", "clip_norm", "fake_loss_weight", "category_loss_weight", "mixup"),
        )
        for name in ("warmup_fraction", "ema_decay", "colour_jitter", "shift", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise DfdError(f"`{name}` is {getattr(self, name)}; it must be at least 0 and below 1.")
        for name in ("degrade", "self_blend", "layer_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise DfdError(f"`{name}` is {getattr(self, name)}; it must be from 0 to 1.")
        if self.batch_size % self.accumulate:
            raise DfdError(
                f"`accumulate` is {self.accumulate}; it must divide `batch_size`, {self.batch_size}."
            )


class NotebookRun:
    """Settings that a notebook's parameter cell states; the fields have no defaults of their own."""

    @classmethod
    def from_notebook(cls: type[Run], namespace: Mapping[str, Any]) -> Run:
        """Build the settings from a notebook's `globals()`, called right after its parameter cell.

        papermill only warns of a parameter that does not exist; here any stray lower-case literal stops
        the run. Raises `DfdError` for an unknown, missing or ill-typed parameter.
        """
        given = {
            name: value
            for name, value in namespace.items()
            if name.islower() and not name.startswith("_") and _is_literal(value)
        }
        fields = [field.name for field in dataclasses.fields(cls)]
        for name in given:
            if name not in fields:
                hint = did_you_mean(name, fields) or f"; the parameters are {', '.join(fields)}."
                raise DfdError(f"unknown parameter `{name}`{hint}")
        missing = [name for name in fields if name not in given]
        if missing:
            raise DfdError(f"the parameter cell does not set {', '.join(f'`{name}`' for name in missing)}.")
        return cls(**given)


@dataclass(frozen=True)
class SplitRun(NotebookRun):
    """Parameters of notebook 01, which trains nothing."""

    data_dir: str
    """Folder of images, or a manifest CSV; empty for the demo set."""
    out_dir: str
    """Folder of the results; empty for `reports/<notebook>/`."""
    val_fraction: float
    """Share of the validation images."""
    test_fraction: float
    """Share of the test images; may be 0."""
    resplit: bool
    """Split anew even where the data states its splits."""
    materialise: str
    """New folder for the split as `{train,val,test}/{real,fake}`; empty for the manifest alone."""
    link: bool
    """Fill it with hard links where the disk allows, which cost no space; else with copies."""
    seed: int
    """Seeds the split and the folds of the leak probe."""
    max_images: int
    """Use at most so many images, drawn evenly over classes; 0 for all."""
    workers: int
    """Processes and threads that draw and decode images; 0 for one a core."""

    def __post_init__(self) -> None:
        _check_types(self)
        _check_ranges(self, at_least={"seed": 0, "max_images": 0, "workers": 0})
        if not (0 < self.val_fraction < 1 and 0 <= self.test_fraction < 1 - self.val_fraction):
            raise DfdError(
                f"`val_fraction` {self.val_fraction} and `test_fraction` {self.test_fraction} must leave a "
                "share for training, and val_fraction be above 0."
            )


@dataclass(frozen=True)
class RunConfig(NotebookRun):
    """The parameters that every training notebook shares; its parameter cell states their defaults."""

    data_dir: str
    """Folder of images, or a manifest CSV; empty for the demo set."""
    out_dir: str
    """Folder of the results; empty for `reports/<notebook>/`."""
    epochs: int
    """Passes over the training split."""
    batch_size: int
    """Images an optimizer step."""
    learning_rate: float
    """Peak learning rate."""
    image_size: int
    """Side of the square that the model sees, in pixels."""
    backbone: str
    """Any timm model name."""
    pretrained: str
    """`auto`: ImageNet weights when the cache or the network has them; `none`: start from scratch."""
    weights: str
    """File with backbone weights (.pth, .safetensors); wins over `pretrained`."""
    seed: int
    """Seeds the split, the initial weights and the training."""
    max_images: int
    """Use at most so many images, drawn evenly over classes; 0 for all."""
    workers: int
    """Processes and threads that draw and decode images; 0 for one a core."""

    def __post_init__(self) -> None:
        _check_types(self)
        _check_ranges(
            self,
            at_least={
                "epochs": 1,
                "batch_size": 1,
                "image_size": 16,
                "seed": 0,
                "max_images": 0,
                "workers": 0,
            },
        )
        if self.pretrained not in ("auto", "none"):
            raise DfdError(f"`pretrained` is {self.pretrained!r}; it must be 'auto' or 'none'.")

    def training(self, **overrides: Any) -> TrainConfig:
        """Return the training settings that this run states, the rest at their defaults."""
        known = {field.name for field in dataclasses.fields(TrainConfig)}
        stated = {name: value for name, value in dataclasses.asdict(self).items() if name in known}
        return TrainConfig(**{**stated, **overrides})


@dataclass(frozen=True)
class MultitaskRun(RunConfig):
    """Parameters of notebook 04."""

    residual: bool
    """Give the backbone a high-pass residual beside RGB (see `networks.HighPassResidual`)."""
    stem_stride: int
    """Stride of the backbone's first convolution; 0 leaves it as it is."""
    stages: int
    """Feature maps of the backbone to keep (see `backbones.Truncated`); 0 keeps all of it."""
    fake_loss_weight: float
    """Weight of the real/fake loss."""
    category_loss_weight: float
    """Weight of the category loss."""
    colour_jitter: float
    """Largest change of brightness, contrast and colour of a training image; 0 for none."""
    precision: str
    """`auto`, `fp32`, `bf16` or `fp16`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ranges(self, at_least={"stem_stride": 0, "stages": 0})
        self.training()  # refuses what TrainConfig refuses, before any data is touched


@dataclass(frozen=True)
class FrozenRun(RunConfig):
    """Parameters of notebook 02."""

    views: int
    """Variations of each training image whose features are computed, see `frozen.fit_frozen`."""
    patience: int
    """Stop after so many epochs without a smaller validation loss; 0 never stops early."""
    colour_jitter: float
    """Largest change of brightness, contrast and colour of a training image; 0 for none."""
    unfrozen_epochs: int
    """Epochs in which the whole network trains."""
    unfrozen_learning_rate: float
    """Peak learning rate of these epochs."""
    cnn_epochs: int
    """Epochs of the custom CNN."""
    cnn_learning_rate: float
    """Peak learning rate of the custom CNN."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ranges(self, at_least={"views": 1, "patience": 0, "unfrozen_epochs": 1, "cnn_epochs": 1})
        self.training()


@dataclass(frozen=True)
class KfoldRun(RunConfig):
    """Parameters of notebook 03."""

    folds: int
    """Number of folds."""
    balance: str
    """`downsample`, `oversample`, `weights` or `none`, see `TrainConfig.balance`."""
    schedule: str
    """`cosine`, `one-cycle`, `plateau` or `constant`."""
    clip_norm: float
    """Largest norm of the gradient; 0 turns clipping off."""
    residual: bool
    """Give the backbone a high-pass residual beside RGB (see `networks.HighPassResidual`)."""
    stem_stride: int
    """Stride of the backbone's first convolution; 0 leaves it as it is."""
    stages: int
    """Feature maps of the backbone to keep (see `backbones.Truncated`); 0 keeps all of it."""
    others: str
    """Backbones to compare on the first fold, by name, with commas between; may be empty."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ranges(self, at_least={"folds": 2, "stem_stride": 0, "stages": 0})
        self.training()


@dataclass(frozen=True)
class ClipRun(RunConfig):
    """Parameters of notebook 05."""

    n_frames: int
    """Frames of a clip; 1 for single images."""
    faces: str
    """YuNet's .onnx file, or `cascade`: crop every frame to the main face; empty for whole frames."""
    hidden: int
    """Units of the LSTM in each direction."""
    layers: int
    """Layers of the LSTM."""
    bidirectional: bool
    """Whether the LSTM looks at a clip from both ends."""
    stages: int
    """Feature maps of the backbone to keep (see `backbones.Truncated`); 0 keeps all of it."""
    freeze: int
    """Stages of the backbone that stay as they are; for pretrained weights."""
    balance: str
    """`oversample`, `downsample`, `weights` or `none`, see `TrainConfig.balance`."""
    schedule: str
    """`plateau`, `cosine`, `one-cycle` or `constant`."""
    patience: int
    """Stop after so many epochs without a better validation; 0 never stops early."""
    finetune_epochs: int
    """Epochs on the failures and their replay."""
    finetune_learning_rate: float
    """Peak learning rate of these epochs."""
    replay: float
    """Training clips for each failure."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {
            "n_frames": 1,
            "hidden": 1,
            "layers": 1,
            "stages": 0,
            "finetune_epochs": 1,
        }
        _check_ranges(self, at_least=least, non_negative=("replay",))
        self.training()


def _is_literal(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_literal(item) for item in value)
    return value is None or isinstance(value, (str, int, float, bool))


def _check_types(config: Any) -> None:
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


def _check_ranges(config: Any, *, at_least: Mapping[str, int], non_negative: tuple[str, ...] = ()) -> None:
    bounds = {**at_least, **dict.fromkeys(non_negative, 0)}
    for name, low in bounds.items():
        value = getattr(config, name)
        if not value >= low:
            raise DfdError(f"`{name}` is {value}; it must be at least {low}.")
    if not 0 < getattr(config, "learning_rate", 1) < 10:
        raise DfdError(f"`learning_rate` is {config.learning_rate}; it must be above 0 and below 10.")
