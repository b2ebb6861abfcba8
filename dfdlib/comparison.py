"""Is one detector better than another? Paired tests on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest, chi2, norm, rankdata

from . import intervals
from .errors import DfdError


@dataclass(frozen=True)
class Comparison:
    """Two detectors by one metric, on the same images."""

    metric: str
    """See `intervals.METRICS`."""
    a: float
    """Value of the first detector."""
    b: float
    """Value of the second."""
    difference: float
    """`b - a`; what is NaN could not be told."""
    low: float
    """Lower end of the interval of the difference."""
    high: float
    """Upper end."""
    p_value: float
    """Two-sided, of no difference."""
    n: int
    """Number of images."""
    method: str
    """How interval and p-value were made."""

    def __str__(self) -> str:
        """Say it in a line."""
        return (
            f"{self.metric}: {self.a:.3f} → {self.b:.3f}, difference {self.difference:+.3f} "
            f"[{self.low:+.3f}, {self.high:+.3f}], p = {self.p_value:.2g} ({self.method}, n = {self.n:,})"
        )


def delong(truth: np.ndarray, score_a: np.ndarray, score_b: np.ndarray, level: float = 0.95) -> Comparison:
    """Compare two AUCs on the same images (DeLong, DeLong & Clarke-Pearson 1988, by the ranks of Sun & Xu 2014).

    It takes images for independent; where they come in groups, use `paired_bootstrap`.

    Args:
        truth: [N], 1 fake, 0 real.
        score_a: [N], of the first detector, higher means fake.
        score_b: [N], of the second.
        level: Coverage of the interval.

    Returns:
        NaN for interval and p-value with fewer than two images of a class. Where the detectors rank all
        images alike, the difference is 0 and p is 1.

    Raises:
        DfdError: See `intervals.checked`.
    """
    truth, score_a = intervals.checked(truth, score_a)
    _, score_b = intervals.checked(truth, score_b)
    caught, passed = zip(*(_placements(truth, score) for score in (score_a, score_b)), strict=True)
    n, n_fake, n_real = len(truth), len(caught[0]), len(passed[0])
    a, b = (float(intervals.area(*intervals.curves(truth, score))[0]) for score in (score_a, score_b))
    if min(n_fake, n_real) < 2:
        return Comparison("auc", a, b, b - a, np.nan, np.nan, np.nan, n, "DeLong")
    variance = np.var(caught[1] - caught[0], ddof=1) / n_fake + np.var(passed[1] - passed[0], ddof=1) / n_real
    error, z = float(np.sqrt(variance)), float(norm.ppf((1 + level) / 2))
    p_value = float(2 * norm.sf(abs(b - a) / error)) if error > 0 else float(a == b)
    return Comparison("auc", a, b, b - a, b - a - z * error, b - a + z * error, p_value, n, "DeLong")


def mcnemar(
    truth: np.ndarray, called_a: np.ndarray, called_b: np.ndarray, exact: bool = True, level: float = 0.95
) -> Comparison:
    """Compare two accuracies on the same images by those that one detector alone got right (McNemar 1947).

    It takes images for independent; where they come in groups, use `paired_bootstrap`.

    Args:
        truth: [N], 1 fake, 0 real.
        called_a: [N], 1 where the first detector said fake, 0 where it said real.
        called_b: [N], what the second said.
        exact: Binomial test; else chi-squared with Edwards' correction, for 25 and more such images.
        level: Coverage of the interval (Agresti & Min 2005).

    Returns:
        NaN for no image; p is 1 where no image tells the detectors apart.

    Raises:
        DfdError: The lists differ in length, or hold something else than 0 and 1.
    """
    truth, called_a = intervals.checked(truth, called_a)
    _, called_b = intervals.checked(truth, called_b)
    if not np.isin([called_a, called_b], (0, 1)).all():
        raise DfdError("verdicts must be 0 (real) or 1 (fake); compare scores with the threshold first.")
    method = f"McNemar, {'exact' if exact else 'chi-squared'}"
    n = len(truth)
    if not n:
        return Comparison("accuracy", *[np.nan] * 6, 0, method)
    right_a, right_b = called_a == truth, called_b == truth
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    apart = only_a + only_b
    if not apart:
        p_value = 1.0
    elif exact:
        p_value = float(binomtest(only_a, apart).pvalue)
    else:
        p_value = float(chi2.sf(max(abs(only_a - only_b) - 1, 0) ** 2 / apart, 1))
    a, b = float(right_a.mean()), float(right_b.mean())
    middle = (only_b - only_a) / (n + 2)  # half an image more in each cell
    spread = float(norm.ppf((1 + level) / 2) * np.sqrt(((apart + 1) / (n + 2) - middle**2) / (n + 2)))
    return Comparison("accuracy", a, b, b - a, middle - spread, middle + spread, p_value, n, method)


def paired_bootstrap(
    table_a: pd.DataFrame,
    table_b: pd.DataFrame,
    metric: str = "auc",
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two detectors by any metric: both are judged on the same resamples of the *groups*.

    Args:
        table_a: Predictions of the first detector, see `inference.predictions_table`, each with its own
            threshold. Groups are taken from here.
        table_b: Predictions of the second for the same images, in any order.
        metric: A name out of `intervals.METRICS`.
        n_resamples: Bootstrap samples; one without a class that the metric needs does not count.
        level: Coverage of the percentile interval.
        seed: Draws the samples.

    Returns:
        The p-value is twice the share of resamples on the far side of 0, and never below `2 / n_resamples`;
        where the detectors never differ it is 1.

    Raises:
        DfdError: The tables are not of the same images with the same labels; see also
            `intervals.bootstrap_metrics`.
    """
    intervals.check_resampling(n_resamples, level)
    intervals.known_metrics([metric])
    known = intervals.labelled(table_a, "path", "group")
    other = _aligned(known, intervals.labelled(table_b, "path"))
    samples = [intervals.sample_of(table)[0] for table in (known, other)]
    a, b = (sample.values([metric])[metric] for sample in samples)
    drawn = [sample.resampled([metric], n_resamples, seed)[metric] for sample in samples]
    differences = (drawn[1] - drawn[0]).dropna().to_numpy()
    low, high = intervals.ends_of(differences, level)
    p_value = np.nan
    if len(differences):
        beyond = min((differences <= 0).sum(), (differences >= 0).sum())
        p_value = min(1.0, 2 * max(int(beyond), 1) / len(differences))
    return Comparison(metric, a, b, b - a, low, high, p_value, len(known), "paired group bootstrap")


def _placements(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of reals below each fake, and of fakes above each real image; ties count half."""
    fake, real = score[truth == 1], score[truth == 0]
    ranks = rankdata(np.concatenate([fake, real]))
    below = (ranks[: len(fake)] - rankdata(fake)) / max(len(real), 1)
    above = 1 - (ranks[len(fake) :] - rankdata(real)) / max(len(fake), 1)
    return below, above


def _aligned(table_a: pd.DataFrame, table_b: pd.DataFrame) -> pd.DataFrame:
    """Return the second table in the order and with the groups of the first."""
    odd = set(table_a["path"]) ^ set(table_b["path"])
    for table in (table_a, table_b):
        odd |= set(table["path"][table["path"].duplicated()])
    if odd:
        raise DfdError(
            "a paired comparison needs the predictions of both detectors for the same images, once each; "
            f"{min(odd)} is in one table alone, or twice in one."
        )
    other = table_b.set_index("path", drop=False).loc[table_a["path"]]
    differ = other["label"].to_numpy() != table_a["label"].to_numpy()
    if differ.any():
        wrong = table_a["path"][differ].iloc[0]
        raise DfdError(f"{wrong} is real in one table and fake in the other; predict one manifest with both.")
    other = other.assign(group=table_a["group"].to_numpy())
    other.attrs = dict(table_b.attrs)
    return other
