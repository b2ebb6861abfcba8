"""From detectors and a data set to the predictions table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from dfdlib.core.errors import DfdError
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.loader import make_loader
from dfdlib.data.manifest import content_digests
from dfdlib.evaluation.tables import combined, predictions_table
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.forward import check_views, judge


def count_seen(detector: Detector, manifest: pd.DataFrame) -> int:
    """Return how many images of a manifest the detector was trained on, or chosen by in validation."""
    if detector.seen is None:
        return 0
    digests = content_digests(manifest)
    return int((np.isin(digests, detector.seen) & (digests != 0)).sum())


def predict(
    detector: Detector, dataset: ImageDataset, batch_size: int = 64, tta: Sequence[str] = ()
) -> pd.DataFrame:
    """Predict every image of a data set, in full precision.

    Args:
        detector: A trained detector; put in evaluation mode.
        dataset: Images at the detector's size.
        batch_size: Images a forward pass; changes the speed alone.
        tta: Views whose logits are averaged with those of the image as it is, see `forward.VIEWS`.

    Returns:
        The predictions table, see `predictions_table`; `attrs["n_seen"]` counts the images that the detector
        was trained on, or chosen by.

    Raises:
        DfdError: Unknown view.
    """
    check_views(tta)
    quick = folded(detector, len(dataset))
    fake, category = [np.empty(0, np.float32)], []
    for batch in tqdm(
        make_loader(dataset, batch_size), "predicting", leave=False, disable=len(dataset) < 2000
    ):
        logits = judge(quick, batch["image"], tta)
        fake.append(logits.fake.numpy())
        if logits.category is not None:
            category.append(logits.category.numpy())
    table = predictions_table(
        detector, dataset.manifest, np.concatenate(fake), np.concatenate(category) if category else None
    )
    table.attrs["n_seen"] = count_seen(detector, dataset.manifest)
    return table


def predict_ensemble(
    detectors: Sequence[Detector], dataset: ImageDataset, batch_size: int = 64, tta: Sequence[str] = ()
) -> pd.DataFrame:
    """Predict every image by several detectors of one input size, and average their logits.

    Returns:
        The predictions table, see `combined`.

    Raises:
        DfdError: The detectors differ in their input size or their categories, or unknown view.
    """
    if len({(detector.image_size, detector.n_frames) for detector in detectors}) != 1:
        raise DfdError("an ensemble over one data set needs detectors of one input size.")
    return combined(detectors, [predict(detector, dataset, batch_size, tta) for detector in detectors])
