"""From a detector and images to the predictions table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.special import expit, logit, softmax
from tqdm.auto import tqdm

from .datasets import ImageDataset, make_loader
from .errors import DfdError
from .models import Detector


def predict(detector: Detector, dataset: ImageDataset, batch_size: int = 64) -> pd.DataFrame:
    """Predict every image of a data set, in full precision.

    Args:
        detector: A trained detector; put in evaluation mode.
        dataset: Images at the detector's size.
        batch_size: Images a forward pass; changes the speed alone.

    Returns:
        The predictions table, see `predictions_table`.
    """
    network = detector.network.eval().to(memory_format=torch.channels_last)
    device = next(network.parameters()).device
    fake, category = [np.empty(0, np.float32)], []
    with torch.inference_mode():
        for batch in tqdm(
            make_loader(dataset, batch_size), "predicting", leave=False, disable=len(dataset) < 2000
        ):
            logits = network(batch["image"].to(device))
            fake.append(logits.fake.cpu().numpy())
            if logits.category is not None:
                category.append(logits.category.cpu().numpy())
    return predictions_table(
        detector, dataset.manifest, np.concatenate(fake), np.concatenate(category) if category else None
    )


def predictions_table(
    detector: Detector, manifest: pd.DataFrame, fake_logits: np.ndarray, category_logits: np.ndarray | None
) -> pd.DataFrame:
    """Turn logits into the predictions table.

    Args:
        detector: Gives temperature, threshold and categories.
        manifest: One row an image, N in all.
        fake_logits: float [N], as the network returns them.
        category_logits: float [N, C], or None.

    Returns:
        The manifest's columns and `logit` (after temperature), `p_fake` (0 to 1), `predicted` (real or fake,
        by the threshold) and, with categories, `predicted_category`, `category_confidence` and
        `p_<category>`. `attrs["threshold"]` keeps the threshold.
    """
    table = manifest.reset_index(drop=True).copy()
    table["logit"] = fake_logits.astype(np.float64) / detector.temperature
    table["p_fake"] = expit(table["logit"])
    table["predicted"] = None  # in its place among the columns
    if category_logits is not None:
        probabilities = softmax(category_logits.astype(np.float64), axis=1)
        table["predicted_category"] = np.asarray(detector.categories, object)[probabilities.argmax(1)]
        table["category_confidence"] = probabilities.max(1)
        for i, name in enumerate(detector.categories):
            table[f"p_{name}"] = probabilities[:, i]
    return with_threshold(table, detector.threshold)


def with_threshold(predictions: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return predictions that call an image fake from `threshold` on; `attrs["threshold"]` keeps it."""
    table = predictions.assign(predicted=np.where(predictions["p_fake"] >= threshold, "fake", "real"))
    table.attrs |= {"threshold": threshold}
    return table


def predict_ensemble(
    detectors: Sequence[Detector], dataset: ImageDataset, batch_size: int = 64
) -> pd.DataFrame:
    """Predict every image by several detectors of one input size, and average their logits.

    Returns:
        The predictions table, see `predictions_table`; category probabilities are averaged as such.

    Raises:
        DfdError: The detectors differ in their input size or their categories.
    """
    if len({(detector.image_size, detector.n_frames, detector.categories) for detector in detectors}) != 1:
        raise DfdError("an ensemble needs detectors of one input size and the same categories.")
    tables = [predict(detector, dataset, batch_size) for detector in detectors]
    table = tables[0].copy()
    table["logit"] = np.mean([one["logit"] for one in tables], axis=0)
    table["p_fake"] = expit(table["logit"])
    names = [f"p_{name}" for name in detectors[0].categories]
    if names:
        table[names] = np.mean([one[names] for one in tables], axis=0)
        table["predicted_category"] = table[names].idxmax(axis=1).str.removeprefix("p_")
        table["category_confidence"] = table[names].max(axis=1)
    return with_threshold(table, joint_threshold(detectors))


def joint_threshold(detectors: Sequence[Detector]) -> float:
    """Return the threshold of several detectors together: the mean of theirs, as logits."""
    return float(expit(np.mean([logit(detector.threshold) for detector in detectors])))
