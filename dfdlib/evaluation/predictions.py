"""From detectors and images to the predictions table: one generator, wherever the images come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dfdlib.core.errors import DfdError
from dfdlib.core.native import Part
from dfdlib.core.progress import Progress
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.loader import make_loader
from dfdlib.data.manifest import content_digests
from dfdlib.evaluation.tables import combined, joint_decision, predictions_table, with_decision
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.forward import check_views, judge, pooled
from dfdlib.models.networks import Logits

_FRAMES_AT_ONCE = 64


class DecodedRows(NamedTuple):
    """Rows of a manifest with their pixels."""

    rows: pd.DataFrame
    """One row per image or video, N in all."""
    pixels: Mapping[tuple[int, str, Part], Tensor]
    """By `Detector.fit`, of size S: uint8 [F, 3, S, S], the frames or tiles of all rows one after the other, or clips [N, T, 3, S, S]."""
    counts: Mapping[tuple[int, str, Part], Sequence[int]] | None = None
    """By `Detector.fit`: frames or tiles of each row, F in all; None for one each."""


def judge_rows(
    detectors: Sequence[Detector],
    batches: Iterable[DecodedRows],
    tta: Sequence[str] = (),
    threshold: float | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield the predictions table of each batch.

    Args:
        detectors: One detector or an ensemble, see `tables.combined`; each finds its own image size.
        batches: Images, videos whose frames' logits are averaged, images whose tiles' logits are (see
            `forward.pooled`), or clips.
        tta: Views, see `forward.VIEWS`.
        threshold: Called fake from this `p_fake` on, without a band; the detectors' own when not given.

    Raises:
        DfdError: Unknown view, or detectors that differ in their categories.
    """
    check_views(tta)
    for batch in batches:
        tables = []
        for detector in detectors:
            counts = batch.counts and batch.counts[detector.fit]
            logits = _pooled_logits(detector, batch.pixels[detector.fit], counts, tta)
            tables.append(predictions_table(detector, batch.rows, *logits))
        table = combined(detectors, tables)
        if threshold is not None:
            own = detectors[0].decision if len(detectors) == 1 else joint_decision(detectors)
            table = with_decision(table, replace(own, threshold=threshold, band=None))
        yield table


def predict(
    detector: Detector, dataset: ImageDataset, batch_size: int = 64, tta: Sequence[str] = ()
) -> pd.DataFrame:
    """Predict every image of a data set, in full precision.

    Args:
        detector: A trained detector; put in evaluation mode.
        dataset: Images at the detector's size.
        batch_size: Images per forward pass; changes the speed alone.
        tta: Views whose logits are averaged with those of the unmodified image, see `forward.VIEWS`.

    Returns:
        The predictions table, see `tables.predictions_table`, with the column `in_training`: whether the
        detector was trained on the image, or chosen by it in validation.

    Raises:
        DfdError: Unknown view, or images that are not fitted as the detector's.
    """
    return predict_ensemble([detector], dataset, batch_size, tta)


def predict_ensemble(
    detectors: Sequence[Detector], dataset: ImageDataset, batch_size: int = 64, tta: Sequence[str] = ()
) -> pd.DataFrame:
    """Predict every image by several detectors of one input size, and average their logits.

    Returns:
        The predictions table, see `predict` and `tables.combined`.

    Raises:
        DfdError: The detectors differ in their input size or their categories, or unknown view.
    """
    check_views(tta)
    if len({(detector.fit, detector.n_frames) for detector in detectors}) != 1:
        raise DfdError("an ensemble over one data set needs detectors of one input size.")
    check_fit(detectors[0], dataset)
    fit, manifest = detectors[0].fit, dataset.manifest
    seen = np.any([in_training(detector, manifest) for detector in detectors], axis=0)
    dataset = dataset.judged()
    progress = Progress(
        make_loader(dataset, batch_size), "predicting", leave=False, disable=len(dataset) < 2000
    )
    batches = (
        DecodedRows(manifest.iloc[rows], {fit: batch["image"]}, {fit: dataset.n_views[rows]})
        for batch in progress
        for rows in [batch["index"].numpy()]
    )
    tables = list(judge_rows([folded(detector, len(dataset)) for detector in detectors], batches, tta))
    if not tables:
        n_categories = len(detectors[0].categories)
        category = np.empty((0, n_categories)) if n_categories else None
        tables = [predictions_table(detectors[0], manifest, np.empty(0), category)]
    return pd.concat(tables, ignore_index=True).assign(in_training=seen)


def check_fit(detector: Detector, dataset: ImageDataset) -> None:
    """Refuse images that were not fitted as the detector's. Raises `DfdError` that says how they were."""
    if dataset.fit != detector.fit:
        theirs, ours = (
            f"{size} px, {interpolation}, {part or 'whole images'}"
            for size, interpolation, part in (dataset.fit, detector.fit)
        )
        raise DfdError(
            f"the images are fitted to {theirs}, and the detector looks at {ours}; make the data set with "
            "the detector's `fit`."
        )


def in_validation(detector: Detector, manifest: pd.DataFrame) -> np.ndarray:
    """Return which images of a manifest a detector was chosen by, and has not learned from, bool [N]."""
    if detector.validation_digests is None:
        return np.zeros(len(manifest), bool)
    return np.isin(content_digests(manifest), detector.validation_digests)


def in_training(detector: Detector, manifest: pd.DataFrame) -> np.ndarray:
    """Return which images of a manifest a detector was trained on, or chosen by in validation, bool [N]."""
    if detector.training_digests is None:
        return np.zeros(len(manifest), bool)
    digests = content_digests(manifest)
    return np.isin(digests, detector.training_digests) & (digests != 0)


def _pooled_logits(
    detector: Detector, pixels: Tensor, counts: Sequence[int] | None, tta: Sequence[str]
) -> tuple[np.ndarray | None, ...]:
    """Return the fake logits [N], the category logits [N, C] and the novelty [N] of rows, pooled over their frames."""
    step = max(1, _FRAMES_AT_ONCE // max(1, detector.n_frames))
    parts = [judge(detector, part, tta, novelty=True) for part in pixels.split(step)]
    logits = Logits(*(None if one[0] is None else torch.cat(one) for one in zip(*parts, strict=True)))
    if counts is not None:
        logits = pooled(logits, counts, detector.top)
    return tuple(None if field is None else field.numpy() for field in logits)
