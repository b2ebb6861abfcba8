"""Bootstrap intervals of every metric, over groups: images of one source are not independent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.evaluation.metrics import (
    METRICS,
    ScoredImages,
    binary_metrics,
    checked_probabilities,
    group_codes,
    known_metrics,
    labelled,
    parts,
)

_BLOCK = 50_000
"""Weights held at once: the blocks of resamples stay in the processor's cache."""


def bootstrap_metrics(
    predictions: pd.DataFrame,
    metrics: Sequence[str] | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute metrics with intervals that resample *groups*.

    The ends are percentiles of the resamples (Efron & Tibshirani 1993); those of the ECE are shifted, see
    `_centred`. A resample without a class that the metric needs does not count. Resamples know no error that
    the images do not show: the interval of an accuracy of 1 is a point.

    Args:
        predictions: See `tables.predictions_table`; the order of its rows does not matter. An image without a
            group stands for itself; one without a label is left out.
        metrics: Names out of `METRICS`; all when not given.
        n_resamples: Bootstrap samples.
        level: Coverage of the intervals.
        seed: Draws the samples.

    Returns:
        Index `metric`; columns `value`, `low`, `high`, `n` (images) and `n_groups`. NaN where a class is
        missing.

    Raises:
        DfdError: A column is missing, `p_fake` is not between 0 and 1, an unknown metric, no resamples, or a
            level that is not between 0 and 1.
    """
    check_resampling(n_resamples, level)
    names = known_metrics(metrics)
    images, n = scored_images(predictions)
    values = images.values(names)
    resampled = resample(images, names, n_resamples, seed)
    ends = {name: ends_of(resampled[name], level) for name in names}
    if "ece" in ends:
        ends["ece"] = _centred(ends["ece"], resampled["ece"], values["ece"])
    rows = {name: (values[name], *ends[name], n, images.n_groups) for name in names}
    columns = ["value", "low", "high", "n", "n_groups"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("metric")


def auc_interval(
    predictions: pd.DataFrame, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the ends of the interval of the AUC, see `bootstrap_metrics`; NaN where only one class is present."""
    row = bootstrap_metrics(predictions, ["auc"], n_resamples, level, seed).loc["auc"]
    return float(row["low"]), float(row["high"])


def by_generator(predictions: pd.DataFrame) -> pd.DataFrame:
    """Judge each generator's fakes against all real images.

    Returns:
        Index `generator`; columns `n`, `auc`, `auc_low`, `auc_high` (95 %, see `auc_interval`),
        `fake_accuracy` at the threshold and `mean_p_fake`.
    """
    rows = {}
    for name, part, n in parts(predictions, "generator"):
        scores, (low, high) = binary_metrics(part), auc_interval(part)
        mean_p_fake = float(part.loc[part["label"] == "fake", "p_fake"].mean())
        rows[name] = [n, scores["auc"], low, high, scores["fake_accuracy"], mean_p_fake]
    columns = ["n", "auc", "auc_low", "auc_high", "fake_accuracy", "mean_p_fake"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("generator")


def with_ends(judged: pd.DataFrame) -> dict[str, float]:
    """Return a table of `bootstrap_metrics` as one row: `auc`, `auc_low`, `auc_high` and so on."""
    row = {}
    for name, one in judged.iterrows():
        row |= {name: one["value"], f"{name}_low": one["low"], f"{name}_high": one["high"]}
    return row


def ends_of(resampled: np.ndarray, level: float) -> tuple[float, float]:
    """Return the ends of the percentile interval, in what is not NaN; NaN where nothing is."""
    known = np.asarray(resampled)[np.isfinite(resampled)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def check_resampling(n_resamples: int, level: float) -> None:
    """Raise `DfdError` where there are no resamples, or the level is not between 0 and 1."""
    if n_resamples < 1 or not 0 < level < 1:
        raise DfdError(f"an interval needs resamples and a level in (0, 1), not {n_resamples} and {level}.")


def scored_images(predictions: pd.DataFrame) -> tuple[ScoredImages, int]:
    """Return the labelled images of a predictions table in their groups, and their number.

    Raises:
        DfdError: A column is missing, or `p_fake` is not between 0 and 1.
    """
    known = labelled(predictions, "group", "predicted")
    truth, p_fake = checked_probabilities(known["label"] == "fake", known["p_fake"])
    called = (known["predicted"] == "fake").to_numpy()
    return ScoredImages(truth, p_fake, called, group_codes(known)), len(known)


def resample(images: ScoredImages, names: Sequence[str], n_resamples: int, seed: int) -> pd.DataFrame:
    """Return one row per resample of the groups, one column per metric."""
    blocks = [
        np.column_stack([METRICS[name].of(sums) for name in names])
        for sums in map(images.weigh, _draws(images, n_resamples, seed))
    ]
    return pd.DataFrame(np.concatenate(blocks), columns=list(names))


def _draws(images: ScoredImages, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each group is drawn, in blocks [R, groups], so that memory stays bounded."""
    if not images.n_groups:
        yield np.zeros((n_resamples, 0))
        return
    rng, chance = np.random.default_rng(seed), np.full(images.n_groups, 1 / images.n_groups)
    size = max(1, _BLOCK // len(images.group))
    for start in range(0, n_resamples, size):
        yield rng.multinomial(images.n_groups, chance, size=min(size, n_resamples - start))


def _centred(ends: tuple[float, float], resampled: pd.Series, value: float) -> tuple[float, float]:
    """Shift an interval so that the mean square of the resamples, which have twice the noise, meets the value's."""
    low, high = np.sqrt(np.maximum(0, np.square(ends) - np.square(resampled).mean() + value**2))
    return float(low), float(high)
