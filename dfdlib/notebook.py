"""A notebook's front door: its parameters, checked before anything runs, and its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from dfdlib.core.errors import DfdError
from dfdlib.data.clips import ClipDataset
from dfdlib.data.dataset import ImageDataset, typical_side
from dfdlib.data.manifest import subsample
from dfdlib.data.scan import open_data
from dfdlib.demo.clips import demo_clips
from dfdlib.demo.sets import demo_manifest
from dfdlib.images.faces import parse_faces
from dfdlib.images.tiles import parse_fit
from dfdlib.images.video import is_image_name
from dfdlib.models.detector import Detector, create_detector
from dfdlib.training.settings import (
    Augment,
    Balance,
    Count,
    CountOrZero,
    Freeze,
    LearningRate,
    Number,
    Precision,
    Schedule,
    Settings,
    Share,
    TrainConfig,
    Weight,
)


def load_manifest(run: RunConfig) -> pd.DataFrame:
    """Return the manifest of a run: of its `data_dir`, or of the demo set where that is empty."""
    if run.data_dir:
        return open_data(run.data_dir, run.seed, run.max_images)
    return subsample(demo_manifest(workers=run.workers), run.max_images, run.seed)


def load_clips(run: ClipRun) -> ImageDataset:
    """Return the clips of a run: of the demo set, or of the videos of its `data_dir`, a folder or a manifest.

    Where `data_dir` holds images and no video, they are clips of one frame.

    Raises:
        DfdError: Nothing to read, `faces` that cannot be had (see `parse_faces`), or single images where the run
            asks for several frames.
    """
    fit = run.image_size, "bilinear", parse_faces(run.faces)
    if not run.data_dir:
        manifest = subsample(demo_clips(workers=run.workers), run.max_images, run.seed)
    else:
        manifest = open_data(run.data_dir, run.seed, run.max_images, videos=True)
        if manifest["path"].map(is_image_name).all():
            if run.n_frames > 1:
                raise DfdError(
                    f"{run.data_dir} holds no video and no folder of frames; for single images set n_frames=1."
                )
            return ImageDataset(manifest, fit, workers=run.workers)
    return ClipDataset(manifest, fit, run.n_frames, workers=run.workers)


Run = TypeVar("Run", bound="NotebookRun")

# What several notebooks state is described once, here.
MaxImages = CountOrZero
"""Use at most this many images, drawn evenly over classes; 0 for all."""
Workers = CountOrZero
"""Processes and threads that draw and decode images; 0 for one per core."""
Residual = bool
"""Whether the backbone gets a high-pass residual beside RGB (see `networks.HighPassResidual`)."""
StemStride = CountOrZero
"""Stride of the backbone's first convolution; 0 leaves it unchanged."""


@dataclass(frozen=True)
class NotebookRun(Settings):
    """Settings that a notebook's parameter cell states; the fields have no defaults of their own."""

    data_dir: str | list[str]
    """Folder of images, or a manifest CSV; several as a list or `a,b`; empty for the demo set."""
    out_dir: str
    """Folder of the results; empty for `reports/<notebook>/`."""

    @classmethod
    def from_notebook(cls: type[Run], namespace: Mapping[str, Any]) -> Run:
        """Build the settings from a notebook's `globals()`, called right after its parameter cell.

        papermill only warns of a parameter that does not exist; here any stray lower-case literal stops
        the run. Raises `DfdError` for an unknown, missing or ill-typed parameter.
        """
        return cls(
            **{
                name: value
                for name, value in namespace.items()
                if name.islower() and not name.startswith("_") and _is_literal(value)
            }
        )


@dataclass(frozen=True)
class SplitRun(NotebookRun):
    """Parameters of notebook 01, which trains nothing."""

    val_fraction: Number
    """Share of the validation images."""
    test_fraction: Number
    """Share of the test images; may be 0."""
    resplit: bool
    """Split anew even where the data states its splits."""
    materialise: str
    """New folder for the split as `{train,val,test}/{real,fake}`; empty for the manifest alone."""
    link: bool
    """Fill it with hard links where the disk allows, which cost no space; else with copies."""
    seed: CountOrZero
    """Seeds the split and the folds of the leak probe."""
    max_images: MaxImages
    workers: Workers

    def __post_init__(self) -> None:
        if not (0 < self.val_fraction < 1 and 0 <= self.test_fraction < 1 - self.val_fraction):
            raise DfdError(
                f"`val_fraction` {self.val_fraction} and `test_fraction` {self.test_fraction} must leave a "
                "share for training, and val_fraction be above 0."
            )


@dataclass(frozen=True)
class RunConfig(NotebookRun):
    """The parameters that every training notebook shares; its parameter cell states their defaults."""

    epochs: Count
    """Passes over the training split."""
    batch_size: Count
    """Images per optimizer step."""
    learning_rate: LearningRate
    """Peak learning rate."""
    augment: Augment
    """How training images are varied: a row of `training.augment.PRESETS`."""
    image_size: CountOrZero
    """Side of the square that the model sees, in pixels; 0 for what the weights were trained at, or the images' own
    size where that is smaller."""
    faces: str
    """How images and videos are cropped to faces, see `images.faces.parse_faces`; empty for whole images."""
    backbone: str
    """Any timm model name."""
    pretrained: Literal["auto", "none"]
    """`auto`: ImageNet weights when the cache or the network has them; `none`: start from scratch."""
    weights: str
    """File with backbone weights (.pth, .safetensors); wins over `pretrained`."""
    fallback: str
    """Backbone to take where ImageNet weights of `backbone` can't be had; empty trains `backbone` from scratch."""
    seed: CountOrZero
    """Seeds the split, the initial weights and the training."""
    max_images: MaxImages
    workers: Workers

    def __post_init__(self) -> None:
        if 0 < self.image_size < 16:
            raise DfdError(f"`image_size` is {self.image_size}; it must be at least 16, or 0.")

    def detector(
        self, manifest: pd.DataFrame, categories: Sequence[str] = (), backbone: str = "", **switches: Any
    ) -> Detector:
        """Return a new detector as this run states it, its input no larger than the images of the manifest.

        Args:
            manifest: The images; a sample of them says how large they are.
            categories: See `detector.create_detector`.
            backbone: Another one than the run's, such as `cnn`.
            switches: Further arguments of `detector.create_detector`.
        """
        return create_detector(
            backbone or self.backbone,
            self.image_size,
            categories,
            self.pretrained,
            "" if backbone else self.weights,
            fallback=self.fallback,
            largest_side=0 if self.image_size else typical_side(manifest),
            faces=parse_faces(self.faces),
            **{"seed": self.seed, **switches},
        )

    def training(self, **overrides: Any) -> TrainConfig:
        """Return the training settings that this run states, the rest at their defaults."""
        known = {field.name for field in dataclasses.fields(TrainConfig)}
        stated = {name: value for name, value in dataclasses.asdict(self).items() if name in known}
        return TrainConfig(**{**stated, **overrides})


@dataclass(frozen=True)
class ImageRun(RunConfig):
    """Parameters of the notebooks that train detectors of single images."""

    fit: str
    """What of an image is judged: `resize`, `crop` or `tiles`, see `images.tiles.parse_fit`."""

    def detector(self, manifest: pd.DataFrame, *args: Any, **switches: Any) -> Detector:
        """Return a new detector, see `RunConfig.detector`, that sees what `fit` says."""
        return super().detector(manifest, *args, **{"native": parse_fit(self.fit), **switches})


@dataclass(frozen=True)
class MultitaskRun(ImageRun):
    """Parameters of notebook 04; those not described here are of `TrainConfig` or above."""

    residual: Residual
    stem_stride: StemStride
    fake_loss_weight: Weight
    category_loss_weight: Weight
    category_smoothing: Share
    precision: Precision
    robustness_images: CountOrZero
    """Test images to degrade step by step; 0 for all."""


@dataclass(frozen=True)
class FrozenRun(ImageRun):
    """Parameters of notebook 02; those not described here are of `TrainConfig` or above."""

    views: Count
    """Variations of each training image whose features are computed, see `frozen.fit_frozen`."""
    patience: CountOrZero
    """Stop after this many epochs without a smaller validation loss; 0 never stops early."""
    unfrozen_epochs: Count
    """Epochs in which the whole network trains."""
    unfrozen_learning_rate: LearningRate
    """Peak learning rate of these epochs."""
    cnn_epochs: Count
    """Epochs of the custom CNN."""
    cnn_learning_rate: LearningRate
    """Peak learning rate of the custom CNN."""


@dataclass(frozen=True)
class KfoldRun(ImageRun):
    """Parameters of notebook 03; those not described here are of `TrainConfig` or above."""

    folds: Annotated[int, Field(ge=2)]
    """Number of folds."""
    balance: Balance
    schedule: Schedule
    clip_norm: Weight
    residual: Residual
    stem_stride: StemStride
    tta: str
    """Views that predictions are averaged over, see `forward.VIEWS`, separated by commas; may be empty."""
    others: str
    """Backbones to compare on the first fold, by name, separated by commas; may be empty."""


@dataclass(frozen=True)
class ClipRun(RunConfig):
    """Parameters of notebook 05; those not described here are of `TrainConfig` or above."""

    n_frames: Count
    """Frames of a clip; 1 for single images."""
    hidden: Count
    """Units of the LSTM in each direction."""
    layers: Count
    """Layers of the LSTM."""
    bidirectional: bool
    """Whether the LSTM reads a clip from both ends."""
    freeze: Freeze
    balance: Balance
    schedule: Schedule
    patience: CountOrZero
    finetune_epochs: Count
    """Epochs on the failures and their replay."""
    finetune_learning_rate: LearningRate
    """Peak learning rate of these epochs."""
    replay: Weight
    """Training clips per failure."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.image_size:
            raise DfdError("`image_size` is 0; clips need a size, such as 224.")

    def detector(self, manifest: pd.DataFrame, *args: Any, **switches: Any) -> Detector:
        """Return a new detector, see `RunConfig.detector`, that sees frames as `load_clips` fits them."""
        return super().detector(manifest, *args, **{"interpolation": "bilinear", **switches})


@dataclass(frozen=True)
class ExplainRun(ImageRun):
    """Parameters of notebook 06; those not described here are above."""

    checkpoints: str
    """Detector files to explain instead of training, separated by commas; empty to train two."""
    cnn_epochs: Count
    """Epochs of the custom CNN."""
    cnn_learning_rate: LearningRate
    """Peak learning rate of the custom CNN."""
    residual: Residual
    stem_stride: StemStride
    methods: str
    """Methods to compare, see `heatmaps.METHODS`, separated by commas."""
    judged_images: Count
    """Fakes with a known region to judge heatmaps by."""


def _is_literal(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_literal(item) for item in value)
    return value is None or isinstance(value, (str, int, float, bool))
