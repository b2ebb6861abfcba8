"""Figures of robustness and generalisation: curves over degradations, and who was tested on what."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dfdlib.core.errors import DfdError
from dfdlib.evaluation.metrics import METRICS
from dfdlib.evaluation.robustness import MEASURED
from dfdlib.plots.style import _DASHES, GREY, SERIES, _shown, _styled

_MARKS = "os^Dvp*X"
_CHANCE = 0.5


@_styled
def robustness_curves(table: pd.DataFrame, metric: str = "auc") -> Figure:
    """Show what each degradation costs: a panel a degradation, a line with its band a detector.

    The levels stand side by side at equal distances, from the images as they are to the strongest level.

    Args:
        table: See `robustness.measure_robustness`; at most 8 detectors.
        metric: `auc` or `balanced_accuracy`, which is at each detector's own threshold.

    Raises:
        DfdError: An unknown metric, too many detectors, or no value is known.
    """
    if metric not in MEASURED:
        raise DfdError(f"curves are of {' or '.join(MEASURED)}, not of {metric!r}.")
    detectors = list(table["detector"].unique())
    if len(detectors) > len(SERIES):
        raise DfdError(
            f"curves of {len(detectors)} detectors cannot be distinguished; choose at most {len(SERIES)}."
        )
    if not table[metric].notna().any():
        raise DfdError("no value is known; the metric needs real and fake images.")
    names = list(table["degradation"].unique())
    n_columns = min(3, len(names))
    n_rows = -(-len(names) // n_columns)
    size = (max(3.1 * n_columns, 4.6), 2.6 * n_rows + 1.0)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, sharey=True, squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        _panel(axis, table[table["degradation"] == name], detectors, metric)
        axis.set_title(_shown(name))
    for axis in axes[:, 0]:
        axis.set_ylabel(METRICS[metric].title)
    lowest = np.nanmin([_CHANCE, table[metric].min(), table[f"{metric}_low"].min()])
    axes[0, 0].set_ylim(max(0, lowest - 0.04), 1.02)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    figure.supxlabel(_caption(table))
    return figure


@_styled
def generalisation_matrix(table: pd.DataFrame) -> Figure:
    """Show the AUC of each training (rows) on each test (columns) with its interval, as a heat map.

    Framed is what a detector has not seen.

    Args:
        table: See `training.generalise.generalise`; an AUC that is NaN is drawn grey.

    Raises:
        DfdError: Nothing in the table.
    """
    if table.empty or not table["auc"].notna().any():
        raise DfdError("there is nothing to draw; the table holds no value.")
    names = {name: list(table[name].unique()) for name in ("trained_on", "tested_on")}
    cells = table.set_index(["trained_on", "tested_on"])
    texts = cells["auc"].map("{:.3f}".format) + cells[["auc_low", "auc_high"]].apply(
        lambda ends: "\n{:.2f}–{:.2f}".format(*ends), axis=1
    )
    values, texts, relation = (
        column.unstack().loc[names["trained_on"], names["tested_on"]].to_numpy()
        for column in (cells["auc"], texts, cells["relation"])
    )
    counts = table.drop_duplicates("tested_on").set_index("tested_on")["n"]
    figure, axis = plt.subplots(figsize=(2.6 + 1.05 * values.shape[1], 1.9 + 0.62 * values.shape[0]))
    axis.set_facecolor("#DDDDDD")
    sns.heatmap(
        values.astype(float),
        annot=texts,
        fmt="",
        cmap="Blues",
        vmin=_CHANCE,
        vmax=1,
        ax=axis,
        xticklabels=[f"{_shown(name)}\nn = {counts[name]:,}" for name in names["tested_on"]],
        yticklabels=[_shown(name, 34) for name in names["trained_on"]],
        cbar_kws={"label": "AUC", "extend": "min" if table["auc"].min() < _CHANCE else "neither"},
        linewidths=1,
        linecolor="white",
    )
    for row, column in np.argwhere(np.isnan(values.astype(float))):  # seaborn leaves these out
        axis.text(column + 0.5, row + 0.5, "–", ha="center", va="center")
    axis.tick_params(length=0)
    axis.tick_params(axis="y", rotation=0)
    axis.set_xticks(
        axis.get_xticks(), axis.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor"
    )
    for row, column in np.argwhere(relation != "seen"):
        axis.add_patch(Rectangle((column, row), 1, 1, fill=False, ec="black", lw=2.5, clip_on=False))
    axis.set(xlabel="tested on", ylabel="trained on")
    axis.set_title("AUC and its 95 % interval over groups; framed: not seen in training")
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, detectors: list[str], metric: str) -> None:
    """Draw the curves of one degradation."""
    axis.axhline(_CHANCE, color=GREY, lw=0.9, ls=":", label="chance")
    strength = min(0.22, 0.6 / len(detectors))  # many bands would hide the lines
    looks = zip(detectors, SERIES, _DASHES, _MARKS, strict=False)
    for i, (name, colour, dashes, mark) in enumerate(looks):
        curve = rows[rows["detector"] == name]
        places = np.arange(len(curve))
        low, high = curve[f"{metric}_low"].to_numpy(float), curve[f"{metric}_high"].to_numpy(float)
        axis.fill_between(places, low, high, color=colour, alpha=strength, lw=0, zorder=1)
        values = curve[metric].to_numpy(float)
        axis.plot(places, values, mark + dashes, color=colour, ms=4, lw=1.5, zorder=2 + i, label=_shown(name))
    first = rows[rows["detector"] == rows["detector"].iloc[0]]
    ticks = ["as is" if np.isnan(level) else f"{level:g}" for level in first["level"]]
    axis.set_xticks(np.arange(len(ticks)), ticks)
    axis.set_xlim(-0.25, len(ticks) - 0.75)
    axis.set_xlabel(rows["unit"].iloc[0])


def _caption(table: pd.DataFrame) -> str:
    n, groups = (_range(table[name]) for name in ("n", "n_groups"))
    return f"n = {n} images of {groups} groups; bands: 95 % interval over groups; dotted: chance"


def _range(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
