"""The report of a training outside a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dfdlib.data.dataset import ImageDataset
from dfdlib.evaluation.predictions import predict
from dfdlib.models.detector import Detector
from dfdlib.plots import predictions, training
from dfdlib.reports.report import Report
from dfdlib.training.settings import TrainConfig


def save_outcome(
    name: str,
    config: TrainConfig,
    folder: str | Path,
    detector: Detector,
    dataset: ImageDataset,
    history: pd.DataFrame,
) -> dict[str, Any]:
    """Judge a trained detector and write figures, predictions and `metrics.json`, which comes last.

    Args:
        name: Of the run, for the report.
        config: How it was trained.
        folder: Where the detector lies.
        detector: The detector.
        dataset: All images with their splits.
        history: See `loop.fit`.

    Returns:
        The content of `metrics.json`, see `report.Report.save_metrics`.

    Raises:
        DfdError: A file cannot be written.
    """
    report = Report(name, config, folder)
    model = detector.arguments.get("backbone", detector.kind)
    report.save_unreadable(dataset.unreadable)
    judged = {split: predict(detector, dataset.split(split)) for split in ("val", "test")}
    report.save_predictions(judged["test"])
    shown = judged["test"] if judged["test"]["label"].notna().any() else judged["val"]
    report.save_figure(training.learning_curves(history), "learning_curves", dataset.manifest, model)
    report.save_figure(predictions.roc(shown), "roc", shown, model)
    report.save_figure(predictions.confusion(shown), "confusion_real_fake", shown, model)
    if shown["generator"].notna().any():
        report.save_figure(predictions.generator_bars(shown), "generators", shown, model)
    return report.save_metrics(dataset.manifest, judged, len(dataset.unreadable), weights=detector.origin)
