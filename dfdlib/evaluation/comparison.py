"""Is one detector better than another? Paired tests on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.evaluation import bootstrap, metrics


@dataclass(frozen=True)
class Comparison:
    """Two detectors by one metric, on the same images."""

    metric: str
    """See `metrics.METRICS`."""
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

    def reading(self, a: str, b: str) -> str:
        """Say in a sentence which of two detectors of these names is better, where the images can tell."""
        title = metrics.METRICS[self.metric].title
        found = f"{a} and {b} cannot be told apart: {title} {self.a:.3f} and {self.b:.3f}"
        if self.low > 0 or self.high < 0:
            place = "ahead of" if self.difference > 0 else "behind"
            found = f"{b} is {place} {a}: {title} {self.b:.3f} and {self.a:.3f}"
        ends = f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"
        return f"{found}, difference {ends}, n = {self.n:,}."

    def __str__(self) -> str:
        """Say it in a line."""
        return (
            f"{self.metric}: {self.a:.3f} → {self.b:.3f}, difference {self.difference:+.3f} "
            f"[{self.low:+.3f}, {self.high:+.3f}], p = {self.p_value:.2g} ({self.method}, n = {self.n:,})"
        )


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
        table_a: Predictions of the first detector, see `tables.predictions_table`, each with its own
            threshold. Groups are taken from here.
        table_b: Predictions of the second for the same images, in any order.
        metric: A name out of `metrics.METRICS`.
        n_resamples: Bootstrap samples; one without a class that the metric needs does not count.
        level: Coverage of the percentile interval.
        seed: Draws the samples.

    Returns:
        The p-value is twice the share of resamples on the far side of 0, and never below `2 / n_resamples`;
        where the detectors never differ it is 1.

    Raises:
        DfdError: The tables are not of the same images with the same labels; see also
            `bootstrap.bootstrap_metrics`.
    """
    bootstrap.check_resampling(n_resamples, level)
    metrics.known_metrics([metric])
    known = metrics.labelled(table_a, "path", "group")
    other = _aligned(known, metrics.labelled(table_b, "path"))
    images = [bootstrap.scored_images(table)[0] for table in (known, other)]
    a, b = (one.values([metric])[metric] for one in images)
    drawn = [bootstrap.resample(one, [metric], n_resamples, seed)[metric] for one in images]
    differences = (drawn[1] - drawn[0]).dropna().to_numpy()
    low, high = bootstrap.ends_of(differences, level)
    p_value = np.nan
    if len(differences):
        beyond = min((differences <= 0).sum(), (differences >= 0).sum())
        p_value = min(1.0, 2 * max(int(beyond), 1) / len(differences))
    return Comparison(metric, a, b, b - a, low, high, p_value, len(known), "paired group bootstrap")


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
    return other.assign(group=table_a["group"].to_numpy())
