"""A notebook's front door: its parameters, checked before anything runs, and its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from dfdlib.core.errors import DfdError, did_you_mean
from dfdlib.data.clips import ClipDataset
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import prepare, subsample
from dfdlib.data.scan import has_videos, open_data, scan_videos
from dfdlib.demo.clips import demo_clips
from dfdlib.demo.sets import demo_manifest
from dfdlib.images.faces import FaceDetector
from dfdlib.training.settings import TrainConfig, check_ranges, check_types


def load_manifest(run: RunConfig) -> pd.DataFrame:
    """Return the manifest of a run: of its `data_dir`, or of the demo set where that is empty."""
    if run.data_dir:
        return open_data(run.data_dir, run.seed, run.max_images)
    return subsample(demo_manifest(workers=run.workers), run.max_images, run.seed)


def load_clips(run: ClipRun) -> ImageDataset:
    """Return the clips of a run: of the demo set, or of the videos below its `data_dir`.

    Where `data_dir` holds images and no video, they are clips of one frame.

    Raises:
        DfdError: Nothing to read, a face detector that cannot be loaded, or single images where the run
            asks for several frames.
    """
    faces = FaceDetector("" if run.faces == "cascade" else run.faces) if run.faces else None
    if not run.data_dir:
        manifest = subsample(demo_clips(workers=run.workers), run.max_images, run.seed)
    elif has_videos(run.data_dir):
        manifest = prepare(scan_videos(run.data_dir), run.seed, run.max_images)
    elif run.n_frames == 1:
        return ImageDataset(
            open_data(run.data_dir, run.seed, run.max_images), run.image_size, workers=run.workers
        )
    else:
        raise DfdError(
            f"{run.data_dir} holds no video and no folder of frames; for single images set n_frames=1."
        )
    return ClipDataset(manifest, run.image_size, run.n_frames, workers=run.workers, faces=faces)


Run = TypeVar("Run", bound="NotebookRun")


class NotebookRun:
    """Settings that a notebook's parameter cell states; the fields have no defaults of their own."""

    out_dir: str

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
        check_types(self)
        check_ranges(self, at_least={"seed": 0, "max_images": 0, "workers": 0})
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
        check_types(self)
        check_ranges(
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
    category_smoothing: float
    """Part of each category target that is spread evenly over the categories (Szegedy et al. 2016)."""
    colour_jitter: float
    """Largest change of brightness, contrast and colour of a training image; 0 for none."""
    precision: str
    """`auto`, `fp32`, `bf16` or `fp16`."""
    robustness_images: int
    """Test images that are degraded step by step; 0 for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, at_least={"stem_stride": 0, "stages": 0, "robustness_images": 0})
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
        check_ranges(self, at_least={"views": 1, "patience": 0, "unfrozen_epochs": 1, "cnn_epochs": 1})
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
    tta: str
    """Views that predictions are averaged over, see `forward.VIEWS`, with commas between; may be empty."""
    others: str
    """Backbones to compare on the first fold, by name, with commas between; may be empty."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, at_least={"folds": 2, "stem_stride": 0, "stages": 0})
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
        check_ranges(self, at_least=least, non_negative=("replay",))
        self.training()


@dataclass(frozen=True)
class ExplainRun(RunConfig):
    """Parameters of notebook 06."""

    checkpoints: str
    """Detector files to explain in place of training, with commas between; empty to train two."""
    cnn_epochs: int
    """Epochs of the custom CNN."""
    cnn_learning_rate: float
    """Peak learning rate of the custom CNN."""
    residual: bool
    """Give the backbone a high-pass residual beside RGB (see `networks.HighPassResidual`)."""
    stem_stride: int
    """Stride of the backbone's first convolution; 0 leaves it as it is."""
    stages: int
    """Feature maps of the backbone to keep (see `backbones.Truncated`); 0 keeps all of it."""
    methods: str
    """Methods to compare, see `heatmaps.METHODS`, with commas between."""
    judged_images: int
    """Fakes with a known region to judge heatmaps by."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"cnn_epochs": 1, "stem_stride": 0, "stages": 0, "judged_images": 1}
        check_ranges(self, at_least=least)
        self.training()


def _is_literal(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_literal(item) for item in value)
    return value is None or isinstance(value, (str, int, float, bool))
