"""The predictions table, and the tables that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, logit, softmax
from sklearn.metrics import classification_report

from dfdlib.core.errors import DfdError
from dfdlib.core.files import safe_table
from dfdlib.evaluation import metrics
from dfdlib.models.detector import Detector


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


CANT_TELL = "can't tell"


def verdicts(p_fake: np.ndarray, threshold: float, band: tuple[float, float] | None = None) -> np.ndarray:
    """Return `real` or `fake` for each score, or `can't tell` from the first up to the second end of a band, [N]."""
    p_fake = np.asarray(p_fake, float)
    said = np.where(p_fake >= threshold, "fake", "real").astype(object)
    if band is not None:
        said[(p_fake >= band[0]) & (p_fake < band[1])] = CANT_TELL
    return said


def public_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Turn predictions into the table that users read.

    Returns:
        Columns `file`, `prediction` (real or fake), `p_fake`, `confidence` (probability of the side that was
        predicted), `verdict` (real, fake or can't tell), `category` and `category_confidence` where they are predicted, and `true_label` and
        `true_category` (empty where not known). A text that a spreadsheet would take for a formula starts
        with an apostrophe.
    """
    p_fake = predictions["p_fake"]
    table = pd.DataFrame(
        {
            "file": predictions["path"],
            "prediction": predictions["predicted"],
            "p_fake": p_fake.round(6),
            "confidence": np.where(predictions["predicted"] == "fake", p_fake, 1 - p_fake).round(6),
        }
    )
    table["verdict"] = predictions["verdict"] if "verdict" in predictions else predictions["predicted"]
    if "predicted_category" in predictions:
        table["category"] = predictions["predicted_category"]
        table["category_confidence"] = predictions["category_confidence"].round(6)
    table["true_label"], table["true_category"] = predictions["label"], predictions["category"]
    return safe_table(table)


def metrics_table(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the metrics of several predictions tables side by side, the AUC with its 95 % interval."""
    columns = {}
    for name, table in judged.items():
        if table["label"].notna().any():
            scores = metrics.binary_metrics(table)
            low, high = metrics.auc_interval(table)
            shown = {"AUC": f"{scores['auc']:.3f} [{low:.3f}, {high:.3f}]"}
            del scores["auc"]
            rates = {key: f"{value:.3f}" for key, value in scores.items() if isinstance(value, float)}
            counts = {key: value for key, value in scores.items() if isinstance(value, int)}
            columns[name] = shown | rates | counts
    return pd.DataFrame(columns)


def auc_table(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return a row a predictions table: `name`, `n`, `auc`, `low`, `high` (95 % interval), `accuracy`."""
    rows = []
    for name, table in judged.items():
        scores, (low, high) = metrics.binary_metrics(table), metrics.auc_interval(table)
        rows.append({"name": name, "n": scores["n"], "auc": scores["auc"], "low": low, "high": high})
        rows[-1]["accuracy"] = scores["accuracy"]
    return pd.DataFrame(rows)


def classification_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return precision, recall, F1 and number of images of both labels, and their means.

    Rows without a label are left out. Raises `DfdError` where none has one.
    """
    known = predictions[predictions["label"].notna()]
    if known.empty:
        raise DfdError("no image has a label to compare with; label some.")
    rows = classification_report(
        known["label"], known["predicted"], labels=["real", "fake"], output_dict=True, zero_division=0
    )
    accuracy = float((known["label"] == known["predicted"]).mean())
    rows = {name: rows[name] for name in ("real", "fake", "macro avg", "weighted avg")}
    table = pd.DataFrame(rows).T.rename(columns={"support": "n", "f1-score": "f1"}).astype({"n": int})
    return table.assign(accuracy=[np.nan, np.nan, accuracy, np.nan])
