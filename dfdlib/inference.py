"""From detectors and images to the predictions table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.special import expit, logit, softmax
from torch import Tensor, nn
from tqdm.auto import tqdm

from .calibration import verdicts
from .datasets import ImageDataset, make_loader
from .errors import DfdError
from .folding import folded
from .models import Detector
from .networks import Logits
from .runtime import keep_freed_memory
from .seen import count_seen
from .tta import VIEWS, check_views

_CPU_PART = 16
"""Images at once on a CPU: the maps of many do not fit its caches, and with fewer PyTorch has only a slow way
of 1×1 convolutions on one core (see benchmarks/inference.py)."""


@torch.inference_mode()
def judge(detector: Detector, images: Tensor, tta: Sequence[str] = ()) -> Logits:
    """Return the logits of a batch in full precision, on the CPU, averaged over the views.

    Args:
        detector: A trained detector; put in evaluation mode.
        images: uint8 [B, 3, S, S] at the detector's size, or clips [B, T, 3, S, S].
        tta: Names of `tta.VIEWS` beside the image as it is.

    Raises:
        DfdError: Unknown view.
    """
    check_views(tta)
    keep_freed_memory()
    network = detector.network.eval()
    parts = images.split(_CPU_PART if detector.device.type == "cpu" else max(1, len(images)))
    judged = [_judge_views(network, part.to(detector.device), tta) for part in parts]
    fake = torch.cat([one.fake for one in judged])
    if judged[0].category is None:
        return Logits(fake, None)
    return Logits(fake, torch.cat([one.category for one in judged]))


def _judge_views(network: nn.Module, images: Tensor, tta: Sequence[str]) -> Logits:
    seen = [network(images)]
    for name in tta:
        view = VIEWS[name](images.flatten(0, -4)).unflatten(0, images.shape[:-3])
        seen.append(network(view))
    fake = torch.stack([one.fake for one in seen]).mean(0).cpu()
    if seen[0].category is None:
        return Logits(fake, None)
    return Logits(fake, torch.stack([one.category for one in seen]).mean(0).cpu())


def predict(
    detector: Detector, dataset: ImageDataset, batch_size: int = 64, tta: Sequence[str] = ()
) -> pd.DataFrame:
    """Predict every image of a data set, in full precision.

    Args:
        detector: A trained detector; put in evaluation mode.
        dataset: Images at the detector's size.
        batch_size: Images a forward pass; changes the speed alone.
        tta: Views whose logits are averaged with those of the image as it is, see `tta.VIEWS`.

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


def combined(detectors: Sequence[Detector], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the predictions of several detectors for the same images.

    Args:
        detectors: The detectors.
        tables: The predictions table of each.

    Returns:
        A predictions table: logits are averaged, category probabilities as such, thresholds as logits.

    Raises:
        DfdError: The detectors differ in their categories.
    """
    if len({detector.categories for detector in detectors}) != 1:
        raise DfdError("an ensemble needs detectors of the same categories.")
    table = tables[0].copy()
    table.attrs["n_seen"] = max(one.attrs.get("n_seen", 0) for one in tables)
    table["logit"] = np.mean([one["logit"] for one in tables], axis=0)
    table["p_fake"] = expit(table["logit"])
    names = [f"p_{name}" for name in detectors[0].categories]
    if names:
        table[names] = np.mean([one[names] for one in tables], axis=0)
        table["predicted_category"] = table[names].idxmax(axis=1).str.removeprefix("p_")
        table["category_confidence"] = table[names].max(axis=1)
    return with_threshold(table, joint_threshold(detectors), joint_band(detectors))


def joint_band(detectors: Sequence[Detector]) -> tuple[float, float] | None:
    """Return the "can't tell" band of several detectors together: the mean of theirs, as logits.

    None where one of them has none.
    """
    if any(detector.band is None for detector in detectors):
        return None
    ends = logit(np.clip([detector.band for detector in detectors], 0, 1)).mean(0)
    low, high = expit(ends)
    return float(low), float(high if high < 1 else np.nextafter(1, 2))


def joint_threshold(detectors: Sequence[Detector]) -> float:
    """Return the threshold of several detectors together: the mean of theirs, as logits."""
    return float(expit(np.mean([logit(detector.threshold) for detector in detectors])))


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
        by the threshold), `verdict` (the same, or `can't tell` within the detector's band) and, with
        categories, `predicted_category`, `category_confidence` and `p_<category>`. `attrs["threshold"]` keeps the threshold.
    """
    table = manifest.reset_index(drop=True).copy()
    table["logit"] = fake_logits.astype(np.float64) / detector.temperature
    table["p_fake"] = expit(table["logit"])
    table["predicted"] = table["verdict"] = None  # in their place among the columns
    if category_logits is not None:
        probabilities = softmax(category_logits.astype(np.float64), axis=1)
        table["predicted_category"] = np.asarray(detector.categories, object)[probabilities.argmax(1)]
        table["category_confidence"] = probabilities.max(1)
        for i, name in enumerate(detector.categories):
            table[f"p_{name}"] = probabilities[:, i]
    return with_threshold(table, detector.threshold, detector.band)


def with_threshold(
    predictions: pd.DataFrame, threshold: float, band: tuple[float, float] | None = None
) -> pd.DataFrame:
    """Return predictions that call an image fake from `threshold` on; `attrs["threshold"]` keeps it.

    Within a band, from its first up to its second end, the `verdict` is `can't tell`.
    """
    p_fake = predictions["p_fake"].to_numpy(float)
    table = predictions.assign(
        predicted=verdicts(p_fake, threshold), verdict=verdicts(p_fake, threshold, band)
    )
    table.attrs |= {"threshold": threshold}
    return table
