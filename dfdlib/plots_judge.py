"""Figures of judgement: calibration, metrics with their intervals, comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .calibration import reliability
from .comparison import Comparison
from .errors import DfdError
from .intervals import bootstrap_metrics
from .plots import _LEGEND, FAKE, GREY, REAL, _labelled, _shown, _styled

NAMES = {
    "auc": "AUC",
    "ap": "average precision",
    "eer": "equal error rate",
    "tpr_at_1_fpr": "hit rate at 1 % false alarms",
    "tpr_at_5_fpr": "hit rate at 5 % false alarms",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "real_accuracy": "accuracy on real images",
    "fake_accuracy": "accuracy on fakes",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
}
"""How figures call the metrics of `intervals.METRICS`."""
_CHANCE = {"auc": 0.5, "eer": 0.5, "balanced_accuracy": 0.5, "tpr_at_1_fpr": 0.01, "tpr_at_5_fpr": 0.05}


@_styled
def reliability_diagram(
    before: pd.DataFrame, after: pd.DataFrame | None = None, n_bins: int = 10, n_resamples: int = 1000
) -> Figure:
    """Show how often images of about the same `p_fake` are fake, and below how `p_fake` is distributed.

    Args:
        before: Predictions as the network makes them, see `calibration.with_temperature`.
        after: Predictions of the same images with the fitted temperature.
        n_bins: Bins of about as many images each.
        n_resamples: Bootstrap samples for the interval of the calibration error.

    Raises:
        DfdError: Nothing is labelled.
    """
    tables = {"as it is": before} if after is None else {"before": before, "after": after}
    known = [_labelled(table, "a reliability diagram") for table in tables.values()]
    figure, (axis, below) = plt.subplots(2, 1, figsize=(5.2, 6.4), sharex=True, height_ratios=(4, 1))
    axis.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":", label="as it should be")
    looks = ((FAKE, "o", "--"), (REAL, "s", "-")) if after is not None else ((REAL, "s", "-"),)
    for name, table, (colour, marker, dashes) in zip(tables, known, looks, strict=True):
        bins = reliability(table, n_bins)
        ece = bootstrap_metrics(table, ["ece"], n_resamples).loc["ece"]
        label = f"{name}: ECE {ece['value']:.3f} (95 %: {ece['low']:.3f} to {ece['high']:.3f})"
        spread = [bins["share_fake"] - bins["low"], bins["high"] - bins["share_fake"]]
        axis.errorbar(
            bins["p_fake"],
            bins["share_fake"],
            yerr=np.maximum(spread, 0),
            color=colour,
            marker=marker,
            mfc="white",
            ls=dashes,
            lw=1.2,
            capsize=2.5,
            label=label,
        )
        share = np.full(len(table), 100 / len(table))
        below.hist(
            table["p_fake"],
            np.linspace(0, 1, 26),
            weights=share,
            histtype="step",
            color=colour,
            ls=dashes,
            lw=1.4,
        )
    axis.set(ylabel="share of fakes (95 % intervals)", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    below.set(xlabel="p_fake, the probability of fake", ylabel="images (%)")
    groups = known[0]["group"].nunique()
    axis.set_title(f"Reliability, {len(known[0]):,} images of {groups:,} groups")
    axis.legend(loc="upper left", **_LEGEND)
    return figure


@_styled
def metric_intervals(table: pd.DataFrame, metric: str = "auc") -> Figure:
    """Show a metric with its 95 % interval: a row each generator, category or source.

    Args:
        table: See `metrics.by`; or of `intervals.bootstrap_metrics`, then each metric is a row.
        metric: Name of the metric, not used in the second case.

    Raises:
        DfdError: The table lacks the metric, or it is known for no row.
    """
    by_metric = table.index.nlevels == 1
    if not by_metric and metric not in table.index.get_level_values("metric"):
        raise DfdError(f"the table lacks the metric {metric!r}; pass its name to metrics.by.")
    rows = table if by_metric else table.xs(metric, level="metric")
    rows = rows.dropna(subset="value")
    if rows.empty:
        raise DfdError("no row has a value; the metric needs real and fake images.")
    if by_metric:
        rows, labels = rows.iloc[::-1], [NAMES.get(name, name) for name in rows.index[::-1]]
        title = f"{rows['n'].iloc[0]:,} images of {rows['n_groups'].iloc[0]:,} groups"
        meaning = "value"
    else:
        rows = rows.sort_values("value")
        labels = [f"{_shown(name)} (n = {n:,})" for name, n in rows["n"].items()]
        column, meaning = table.index.names[0], NAMES.get(metric, metric)
        title = "Fakes of each generator against all real images" if column == "generator" else f"By {column}"
    figure, axis = plt.subplots(figsize=(6.2, 1.2 + 0.4 * len(rows)))
    _whiskers(axis, rows["value"], rows["low"], rows["high"], labels)
    chance = None if by_metric else _CHANCE.get(metric)
    if chance is not None:
        axis.axvline(chance, color=GREY, lw=0.8, ls="--")
    note = "95 % interval, dashed: chance" if chance is not None else "95 % interval"
    axis.set(xlabel=f"{meaning} ({note})", title=title)
    return figure


@_styled
def comparison(comparisons: Sequence[Comparison], names: tuple[str, str] = ("A", "B")) -> Figure:
    """Show differences between two detectors with their intervals and p-values.

    Args:
        comparisons: See `comparison.delong`, `mcnemar` and `paired_bootstrap`.
        names: Of the two detectors.

    Raises:
        DfdError: No comparison, or none whose difference is known.
    """
    known = [one for one in comparisons if np.isfinite(one.difference)]
    if not known:
        raise DfdError("a figure of comparisons needs one whose difference is known.")
    rows = pd.DataFrame(known[::-1])
    labels = [f"{NAMES.get(row.metric, row.metric)}\n{row.method}" for row in rows.itertuples()]
    figure, axis = plt.subplots(figsize=(7.2, 1.3 + 0.55 * len(rows)))
    _whiskers(axis, rows["difference"], rows["low"], rows["high"], labels)
    axis.axvline(0, color=GREY, lw=0.8, ls="--")
    right = axis.secondary_yaxis("right")
    right.set_yticks(np.arange(len(rows)), [_verdict(row) for row in rows.itertuples()])
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    a, b = map(_shown, names)
    axis.set(xlabel=f"difference, {b} less {a} (95 % interval, dashed: none)")
    axis.set_title(f"{a} and {b} on the same {rows['n'].max():,} images")
    return figure


def _verdict(row: Comparison) -> str:
    chance = "p < 0.001" if row.p_value < 0.001 else f"p = {row.p_value:.2g}"
    return f"{row.a:.3f} → {row.b:.3f}, {chance}"


def _whiskers(axis: Axes, values: pd.Series, low: pd.Series, high: pd.Series, labels: Sequence[str]) -> None:
    """Draw a dot and a whisker a row, from below; a value whose interval is not known has a dot alone."""
    places = np.arange(len(values))
    spread = np.nan_to_num(np.maximum([values - low, high - values], 0))
    axis.errorbar(values, places, xerr=spread, fmt="o", color=REAL, capsize=3)
    axis.set_yticks(places, labels)
    axis.set_ylim(-0.6, len(values) - 0.4)
    axis.margins(x=0.06)
