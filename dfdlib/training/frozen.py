"""Training on a frozen backbone: its features are computed once, and the heads alone train."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from dfdlib.core.errors import DfdError
from dfdlib.core.files import write_csv
from dfdlib.core.machine import keep_freed_memory
from dfdlib.data.dataset import Batch, ImageDataset
from dfdlib.data.loader import make_loader
from dfdlib.models.checkpoint import save_detector
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.networks import ViewHeads
from dfdlib.training.augment import augment
from dfdlib.training.loop import BEST, LOG, fit
from dfdlib.training.optim import keep_inputs
from dfdlib.training.precision import inference_precision
from dfdlib.training.settings import TrainConfig

_HEADS = "heads"
_BATCH = 64
_TRIAL = 8
"""Images that the precision is tried on, six times; more would take a good part of the whole."""


def fit_frozen(
    detector: Detector,
    train: ImageDataset,
    val: ImageDataset,
    config: TrainConfig,
    out_dir: str | Path,
    views: int = 2,
) -> pd.DataFrame:
    """Train the heads of a detector on the features of its frozen backbone; else like `loop.fit`.

    The backbone, its batch-norm statistics included, stays as it is, so what it makes of an image never
    changes: each training image is seen by it in `views` variations, once, instead of anew in every epoch.

    Args:
        detector: A detector over a timm backbone; its heads are changed.
        train: See `fit`.
        val: See `fit`; seen as it is.
        config: See `fit`; `mixup` blends features, `freeze`, `layer_decay` and `precision` do not matter.
        out_dir: See `fit`.
        views: Variations of each training image; the first one is the image as it is.

    Returns:
        The history, see `fit`.

    Raises:
        DfdError: As `fit`, or the detector's heads look at more than its features, or `config` asks for
            self-blended images, whose labels differ from those of the images that they are made of.
    """
    network, out_dir = detector.network, Path(out_dir)
    if not hasattr(network, "embed") or network.context is not None:
        raise DfdError("frozen features need a whole timm backbone; set stages=0, or use training.fit.")
    if config.self_blend:
        raise DfdError("frozen features cannot be self-blended; set self_blend=0, or use training.fit.")
    keep_freed_memory()
    seeing = folded(detector, views * len(train) + len(val))
    dtype = _fast_precision(seeing, train)
    if dtype != torch.float32 and seeing is not detector:
        keep_inputs(seeing.network)
    sets = [
        _FeatureSet(part, _features(seeing, part, config, n, dtype)) for part, n in ((train, views), (val, 1))
    ]
    heads = _heads_alone(detector)
    plain = {"turn": False, "flip": False, "shift": 0.0, "colour_jitter": 0.0, "degrade": 0.0}
    settings = dataclasses.replace(config, **plain, freeze=0, layer_decay=1.0, precision="fp32")
    history = fit(heads, *sets, settings, out_dir / _HEADS)

    network.heads.load_state_dict(heads.network.state_dict())
    for name in ("threshold", "temperature", "band", "seen"):
        setattr(detector, name, getattr(heads, name))
    detector.provenance = heads.provenance | {"settings": dataclasses.asdict(config), "frozen_views": views}
    save_detector(detector, out_dir / BEST)
    write_csv(history, out_dir / LOG)
    shutil.rmtree(out_dir / _HEADS)
    return history


class _FeatureSet(ImageDataset):
    """The images of a data set, each as its features, float [V, F]."""

    def __init__(self, source: ImageDataset, features: Tensor) -> None:
        self.__dict__.update(source.__dict__)
        self._pixels = features

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        places = torch.as_tensor(np.asarray(indices, np.int64))
        return Batch(
            image=self._pixels[places], fake=self.fake[places], category=self.category[places], index=places
        )


def _heads_alone(detector: Detector) -> Detector:
    heads = detector.network.heads
    arguments = {
        "n_features": heads.fake.in_features,
        "n_categories": len(detector.categories),
        "drop_rate": heads.dropout.p,
    }
    alone = ViewHeads(**arguments)
    alone.load_state_dict(heads.state_dict())
    return Detector(
        alone, "heads", arguments, detector.image_size, detector.categories, origin=detector.origin
    )


def _fast_precision(detector: Detector, dataset: ImageDataset) -> torch.dtype:
    """Return what the backbone is faster in, fp32 or bf16, and put it into evaluation mode, channels-last."""
    network = detector.network.eval().to(memory_format=torch.channels_last)
    trial = dataset.__getitems__(range(min(_TRIAL, len(dataset))))["image"]
    return inference_precision(network.embed, trial.to(detector.device))


@torch.inference_mode()
def _features(
    detector: Detector, dataset: ImageDataset, config: TrainConfig, views: int, dtype: torch.dtype
) -> Tensor:
    """Return features, float32 [N, V, F] on the CPU: of the images as they are, then of variations."""
    network, device = detector.network, detector.device
    progress = tqdm(desc="features", total=views * len(dataset), unit="image", disable=len(dataset) < 500)
    seen = []
    with progress, torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        for view in range(views):
            parts = []
            for batch in make_loader(dataset, _BATCH):
                images = augment(batch, view, config).images if view else batch["image"]
                parts.append(network.embed(images.to(device)).float().cpu())
                progress.update(len(images))
            seen.append(torch.cat(parts))
    return torch.stack(seen, 1).clone()  # a copy that gradients may flow past
