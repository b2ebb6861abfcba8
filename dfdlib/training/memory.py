"""What a detector remembers of its training data: which images they were, and what they look like."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import content_digests
from dfdlib.data.sources import source_names
from dfdlib.models.detector import Detector
from dfdlib.models.familiarity import fit_familiarity, reference_network

_TRAIN_IMAGES, _VAL_IMAGES = 1200, 600
"""More images make the limits of the familiar no sharper."""
_BATCH = 32


def remember(detector: Detector, train: ImageDataset, val: ImageDataset) -> None:
    """Add images to those that a detector has seen: their digests, and the names of their data sets."""
    learned, judged = content_digests(train.manifest), content_digests(val.manifest)
    none = np.empty(0, np.int64)
    seen = none if detector.training_digests is None else detector.training_digests
    held_out = none if detector.validation_digests is None else detector.validation_digests
    learned = np.concatenate([np.setdiff1d(seen, held_out), learned])
    detector.validation_digests = np.setdiff1d(np.concatenate([held_out, judged]), [0, *learned])
    detector.training_digests = np.setdiff1d(np.concatenate([seen, learned, judged]), [0])
    names = {name for dataset in (train, val) for name in source_names(dataset.manifest)}
    detector.provenance["sources"] = sorted(names | set(detector.provenance.get("sources", ())))


def learn_familiarity(detector: Detector, train: ImageDataset, val: ImageDataset) -> None:
    """Let a detector learn what its training images look like; nothing where the reference network is not installed."""
    if reference_network() is not None:
        detector.familiarity = fit_familiarity(_views(train, _TRAIN_IMAGES), _views(val, _VAL_IMAGES))


@torch.inference_mode()
def _views(dataset: ImageDataset, n: int) -> tuple[Tensor, ...]:
    """Return the views of the reference network, [N, F] each, of at most `n` images spread over a data set."""
    places = np.unique(np.linspace(0, len(dataset) - 1, n).round().astype(int))
    parts = []
    for start in range(0, len(places), _BATCH):
        parts.append(reference_network().views(dataset.batch(places[start : start + _BATCH])["image"]))
    return tuple(torch.cat(view).clone() for view in zip(*parts, strict=True))
