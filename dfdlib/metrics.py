"""Metrics of the field as pure functions of a predictions table; `fake` is the positive class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_expit
from sklearn.metrics import average_precision_score, f1_score, roc_curve

from .errors import DfdError

TEMPERATURES = (0.25, 10.0)
"""Range of a fitted temperature; perfectly separable validation images would drive it to 0."""


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a fake scores above a real image; ties count half.

    Args:
        truth: [N], 1 fake, 0 real.
        score: [N], higher means fake.

    Returns:
        0 to 1; NaN where only one class is present.

    Raises:
        DfdError: A score is NaN or infinite, or a label is neither 0 nor 1.
    """
    truth, score = _checked(truth, score)
    return float(_weighted_auc(truth, score, np.ones((1, len(truth))))[0])


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the precision-recall curve as a step function; NaN where only one class is present."""
    truth, score = _checked(truth, score)
    return float(average_precision_score(truth, score)) if 0 < truth.sum() < len(truth) else np.nan


def eer(truth: np.ndarray, score: np.ndarray) -> float:
    """Equal error rate: where the ROC curve, interpolated, has as many false alarms as misses.

    NaN where only one class is present.
    """
    truth, score = _checked(truth, score)
    if not 0 < truth.sum() < len(truth):
        return np.nan
    false_alarms, hits, _ = roc_curve(truth, score, drop_intermediate=False)
    gap = false_alarms - (1 - hits)  # rises from -1 to 1 along the curve
    after = int(np.argmax(gap >= 0))
    step = gap[after] - gap[after - 1]
    part = -gap[after - 1] / step
    return float(false_alarms[after - 1] + part * (false_alarms[after] - false_alarms[after - 1]))


def binary_metrics(predictions: pd.DataFrame, threshold: float | None = None) -> dict[str, float]:
    """Compute every metric of a predictions table; rows without a label are left out.

    Args:
        predictions: See `inference.predictions_table`.
        threshold: An image is called fake from this `p_fake` on; the table's own when not given.

    Returns:
        `auc`, `ap`, `eer`, `accuracy`, `balanced_accuracy`, `f1`, `real_accuracy`, `fake_accuracy`,
        `log_loss`, `brier`, `threshold`, `n`, `n_real`, `n_fake` and, where the category is known and
        predicted, `category_accuracy` and `n_category`. NaN where a class is missing.

    Raises:
        DfdError: A column is missing, or `p_fake` is not between 0 and 1.
    """
    known = _labelled(predictions)
    if threshold is None:
        threshold = predictions.attrs.get("threshold", 0.5)
    truth = (known["label"] == "fake").to_numpy(int)
    p_fake = known["p_fake"].to_numpy(float)
    if ((p_fake < 0) | (p_fake > 1)).any():
        raise DfdError("`p_fake` must lie between 0 and 1; these look like logits.")
    called = (p_fake >= threshold).astype(int)
    right = called == truth
    real, fake = _mean(right[truth == 0]), _mean(right[truth == 1])
    result = {
        "auc": auc(truth, p_fake),
        "ap": average_precision(truth, p_fake),
        "eer": eer(truth, p_fake),
        "accuracy": _mean(right),
        "balanced_accuracy": (real + fake) / 2,
        "f1": float(f1_score(truth, called, zero_division=0)) if len(known) else np.nan,
        "real_accuracy": real,
        "fake_accuracy": fake,
        "log_loss": _log_loss(truth, p_fake),
        "brier": _mean((p_fake - truth) ** 2),
        "threshold": float(threshold),
        "n": len(known),
        "n_real": int((truth == 0).sum()),
        "n_fake": int(truth.sum()),
    }
    if "predicted_category" in predictions:
        categorised = predictions[predictions["category"].notna()]
        result["category_accuracy"] = _mean(categorised["predicted_category"] == categorised["category"])
        result["n_category"] = len(categorised)
    return result


def auc_interval(
    predictions: pd.DataFrame, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the AUC that resamples *groups*: images of one source are not independent.

    Args:
        predictions: See `inference.predictions_table`; the order of its rows does not matter. An image
            without a group stands for itself.
        n_resamples: Bootstrap samples; one without both classes does not count.
        level: Coverage of the percentile interval (Efron & Tibshirani 1993).
        seed: Draws the samples.

    Returns:
        Lower and upper end; NaN where only one class is present.

    Raises:
        DfdError: A column is missing, no resamples, or a level that is not between 0 and 1.
    """
    if n_resamples < 1 or not 0 < level < 1:
        raise DfdError(f"an interval needs resamples and a level in (0, 1), not {n_resamples} and {level}.")
    known = _labelled(predictions, "group")
    truth, score = _checked(known["label"] == "fake", known["p_fake"])
    if not 0 < truth.sum() < len(truth):
        return np.nan, np.nan
    groups, names = pd.factorize(known["group"], sort=True)
    alone = groups < 0
    groups[alone] = len(names) + np.arange(alone.sum())
    n_groups = groups.max() + 1
    rng, chance = np.random.default_rng(seed), np.full(n_groups, 1 / n_groups)
    values = []
    for start in range(0, n_resamples, 100):  # in blocks, so that memory stays bounded
        draws = rng.multinomial(n_groups, chance, size=min(100, n_resamples - start))
        values.append(_weighted_auc(truth, score, draws[:, groups]))
    values = np.concatenate(values)
    if np.isnan(values).all():
        return np.nan, np.nan
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def by_generator(predictions: pd.DataFrame) -> pd.DataFrame:
    """Judge each generator's fakes against all real images.

    Returns:
        Index `generator`; columns `n`, `auc`, `auc_low`, `auc_high` (95 %, see `auc_interval`),
        `fake_accuracy` at the threshold and `mean_p_fake`.
    """
    known = _labelled(predictions, "generator")
    fakes = known[(known["label"] == "fake") & known["generator"].notna()]
    reals = known[known["label"] == "real"]
    rows = {name: _against(part, reals) for name, part in fakes.groupby("generator", sort=True)}
    columns = ["n", "auc", "auc_low", "auc_high", "fake_accuracy", "mean_p_fake"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("generator")


def by_category(predictions: pd.DataFrame) -> pd.DataFrame:
    """Judge the images of each category by themselves: index `category`, columns of `binary_metrics`."""
    known = _labelled(predictions, "category")
    known = known[known["category"].notna()]
    rows = {name: binary_metrics(part) for name, part in known.groupby("category", sort=True)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("category")


def choose_threshold(truth: np.ndarray, p_fake: np.ndarray) -> float:
    """Choose the threshold of the best balanced accuracy, on validation images.

    Args:
        truth: [N], 1 fake, 0 real.
        p_fake: [N], 0 to 1.

    Returns:
        The middle of the widest of the best gaps between two scores; 0.5 where only one class is present.
    """
    truth, p_fake = _checked(truth, p_fake)
    if not 0 < truth.sum() < len(truth):
        return 0.5
    order = np.argsort(p_fake, kind="stable")
    scores = p_fake[order]
    misses = np.concatenate([[0.0], np.cumsum(truth[order]) / truth.sum()])
    false_alarms = 1 - np.concatenate([[0.0], np.cumsum(1 - truth[order]) / (1 - truth).sum()])
    cuts = np.concatenate([[True], np.diff(scores) > 0, [True]])  # between different scores only
    errors = np.where(cuts, misses + false_alarms, np.inf)
    edges = np.concatenate([[0.0], scores, [1.0]])
    widths = np.diff(edges)
    best = np.flatnonzero(errors <= errors.min() + 1e-12)
    cut = best[np.argmax(widths[best])]
    low, high = edges[cut], edges[cut + 1]
    middle = (low + high) / 2
    return float(middle if middle > low else high)  # near 1 a middle can round down onto a real image's score


def fit_temperature(truth: np.ndarray, logits: np.ndarray) -> float:
    """Fit the temperature that minimises the log loss on validation images (Guo et al. 2017).

    Args:
        truth: [N], 1 fake, 0 real.
        logits: [N], before the sigmoid.

    Returns:
        A value in `TEMPERATURES`; 1 where only one class is present.
    """
    truth, logits = _checked(truth, logits)
    if not 0 < truth.sum() < len(truth):
        return 1.0
    signed = np.where(truth == 1, logits, -logits)
    fitted = minimize_scalar(
        lambda log_t: -log_expit(signed / np.exp(log_t)).mean(), bounds=np.log(TEMPERATURES), method="bounded"
    )
    return float(np.exp(fitted.x))


def _labelled(predictions: pd.DataFrame, *needed: str) -> pd.DataFrame:
    """Return the rows with a label."""
    missing = [name for name in ("label", "p_fake", *needed) if name not in predictions]
    if missing:
        raise DfdError(
            f"the predictions lack the columns {', '.join(missing)}; make them with dfdlib.predict."
        )
    return predictions[predictions["label"].notna()]


def _against(fakes: pd.DataFrame, reals: pd.DataFrame) -> list[float]:
    both = pd.concat([fakes, reals])
    both.attrs = dict(fakes.attrs)
    scores = binary_metrics(both)
    low, high = auc_interval(both)
    return [len(fakes), scores["auc"], low, high, scores["fake_accuracy"], float(fakes["p_fake"].mean())]


def _checked(truth: Any, score: Any) -> tuple[np.ndarray, np.ndarray]:
    truth, score = np.asarray(truth), np.asarray(score, float)
    if truth.shape != score.shape or truth.ndim != 1:
        raise DfdError(f"labels {truth.shape} and scores {score.shape} must be two lists of the same length.")
    if not np.isin(truth, (0, 1)).all():
        raise DfdError("labels must be 0 (real) or 1 (fake); leave out the images that have none.")
    broken = ~np.isfinite(score)
    if broken.any():
        raise DfdError(
            f"{broken.sum()} of {len(score)} scores are NaN or infinite; the model's output is broken."
        )
    return truth.astype(int), score


def _weighted_auc(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC for each row of weights [R, N]: pairs of fake and real, weighted, from one sort."""
    order = np.argsort(score, kind="stable")
    _, rank = np.unique(score[order], return_inverse=True)
    starts = np.flatnonzero(np.diff(rank, prepend=-1))
    ordered = weights[:, order].astype(float)
    fake = np.add.reduceat(ordered * truth[order], starts, axis=1) if len(starts) else ordered[:, :0]
    real = np.add.reduceat(ordered * (1 - truth[order]), starts, axis=1) if len(starts) else ordered[:, :0]
    below = np.cumsum(real, axis=1) - real / 2
    pairs = fake.sum(1) * real.sum(1)
    return np.divide((fake * below).sum(1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def _log_loss(truth: np.ndarray, p_fake: np.ndarray) -> float:
    bounded = np.clip(p_fake, 1e-12, 1 - 1e-12)
    return _mean(-np.log(np.where(truth == 1, bounded, 1 - bounded)))


def _mean(values: Any) -> float:
    values = np.asarray(values, float)
    return float(values.mean()) if len(values) else np.nan
