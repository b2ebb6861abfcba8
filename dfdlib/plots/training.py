"""Figures of training: learning curves, folds, models, before and after."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dfdlib.core.errors import DfdError
from dfdlib.plots.style import _LEGEND, GREY, JUDGED, SERIES, _styled


@_styled
def learning_curves(history: pd.DataFrame) -> Figure:
    """Show loss, AUC and accuracy over the epochs; the best epoch is marked.

    Args:
        history: One row per epoch, as `loop.fit` returns it or `training_log.csv` holds it: `epoch`,
            `train_loss`, `val_loss`, `best` and those that there are of `val_auc`, `val_accuracy` and
            `val_category_accuracy`.

    Raises:
        DfdError: No epoch.
    """
    if history.empty:
        raise DfdError("learning curves need at least one epoch, and this history has none.")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    epochs, size = history["epoch"], 3 if len(history) > 1 else 6
    left.plot(epochs, history["train_loss"], "o--", ms=size, color=GREY, label="training")
    left.plot(epochs, history["val_loss"], "o-", ms=size, color=JUDGED, label="validation")
    left.set(xlabel="epoch", ylabel="loss", title="Loss", ylim=(0, None))
    curves = (
        ("val_auc", "AUC real/fake", "o-", JUDGED),
        ("val_accuracy", "accuracy real/fake", "s-", SERIES[1]),
        ("val_category_accuracy", "accuracy category", "^-", SERIES[2]),
    )
    for name, label, form, colour in curves:
        if name in history and history[name].notna().any():
            right.plot(epochs, history[name], form, ms=size, color=colour, label=label)
    right.set(xlabel="epoch", ylabel="AUC, accuracy", title="Validation")
    _from_chance(right)
    for axis in (left, right):
        for epoch in epochs[history["best"].astype(bool)] if "best" in history else ():
            axis.axvline(epoch, color="black", lw=0.8, ls=":", label=f"best epoch ({epoch})")
        axis.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.legend(**_LEGEND)
    return figure


@_styled
def fold_curves(histories: Sequence[pd.DataFrame]) -> Figure:
    """Show validation loss, AUC and accuracy over the epochs, one line per fold; dots mark the best epochs.

    Args:
        histories: The history of each fold, see `loop.fit`.

    Raises:
        DfdError: No fold.
    """
    if not histories:
        raise DfdError("curves of folds need at least one fold.")
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.6))
    shown = (("val_loss", "validation loss"), ("val_auc", "AUC"), ("val_accuracy", "accuracy"))
    for axis, (column, label) in zip(axes, shown, strict=True):
        for fold, history in enumerate(histories):
            colour = SERIES[fold % len(SERIES)]
            axis.plot(history["epoch"], history[column], color=colour, lw=1.2, label=f"fold {fold}")
            best = history[history["best"].astype(bool)]
            axis.plot(best["epoch"], best[column], "o", ms=6, color=colour)
        axis.set(xlabel="epoch", ylabel=label)
        axis.margins(x=0.1)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes[0].set_ylim(0, None)
    for axis in axes[1:]:
        _from_chance(axis)
    axes[0].legend(**_LEGEND)
    figure.suptitle("Each fold on the images that it held out (dots: best epochs)")
    return figure


@_styled
def fold_scores(held_out: pd.DataFrame, test: pd.DataFrame) -> Figure:
    """Show the AUC of each fold on its held-out images, and of folds and ensemble on the test set.

    Args:
        held_out: One row per fold: `fold`, `auc`.
        test: Rows `name`, `auc`, `low`, `high`: the folds in the same order, then the ensemble.

    Raises:
        DfdError: No fold.
    """
    if held_out.empty:
        raise DfdError("scores of folds need at least one fold.")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
    left.plot(held_out["fold"], held_out["auc"], "o", color=GREY)
    mean, spread = held_out["auc"].mean(), held_out["auc"].std()
    left.axhline(mean, color=GREY, lw=1, label=f"mean {mean:.3f} ± {spread:.3f} (standard deviation)")
    left.axhspan(mean - spread, mean + spread, color=GREY, alpha=0.15, lw=0)
    left.set(xlabel="fold", ylabel="AUC", title="On the images that it held out")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))
    _whiskers(right, test, [GREY] * (len(test) - 1) + [JUDGED])
    right.set_title("On the untouched test set (95 % intervals)")
    return figure


@_styled
def model_scores(models: pd.DataFrame, title: str = "") -> Figure:
    """Show the AUC of several models on the same images, with 95 % intervals.

    Args:
        models: Rows `name`, `auc`, `low`, `high`.
        title: What the images are and how many.

    Raises:
        DfdError: No model.
    """
    if models.empty:
        raise DfdError("a comparison needs at least one model.")
    figure, axis = plt.subplots(figsize=(max(6, 1.5 + 1.3 * len(models)), 3.8))
    _whiskers(axis, models, [JUDGED] * len(models))
    axis.set(ylabel="AUC", title=title)
    return figure


@_styled
def finetuning(table: pd.DataFrame) -> Figure:
    """Show accuracy and recalls before and after fine-tuning, set by set.

    Args:
        table: See `finetune.before_and_after`.

    Raises:
        DfdError: No set.
    """
    if table.empty:
        raise DfdError("the comparison before and after has no set.")
    columns = (
        ("accuracy", "accuracy"),
        ("fake_recall", "fakes found"),
        ("real_recall", "real images kept (specificity)"),
    )
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), sharey=True)
    names = list(dict.fromkeys(table["set"]))
    places = np.arange(len(names))
    sizes = table[table["detector"] == "before"].set_index("set")["n"]
    for axis, (column, title) in zip(axes, columns, strict=True):
        for shift, (moment, colour) in zip((-0.2, 0.2), (("before", GREY), ("after", JUDGED)), strict=True):
            rows = table[table["detector"] == moment].set_index("set").reindex(names)
            values = rows[column]
            ends = np.stack([values - rows[f"{column}_low"], rows[f"{column}_high"] - values])
            error = {"yerr": np.maximum(np.nan_to_num(ends), 0), "capsize": 2, "error_kw": {"lw": 0.9}}
            bars = axis.bar(places + shift, values.fillna(0), 0.38, color=colour, label=moment, **error)
            texts = ["–" if np.isnan(value) else f"{value:.2f}" for value in values]
            axis.bar_label(bars, texts, padding=1)
        axis.set_xticks(
            places, [f"{name}\n(n = {sizes[name]})".replace(" without", "\nwithout") for name in names]
        )
        axis.set(title=title, ylim=(0, 1.12))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2)
    figure.supxlabel("bars: 95 % intervals over groups")
    return figure


def _from_chance(axis: Axes) -> None:
    """Show AUC or accuracy from chance, or the lowest value, up to 1: a range of their own makes noise look steep."""
    axis.set_ylim(min(0.48, axis.get_ylim()[0]), 1.005)


def _whiskers(axis: Axes, table: pd.DataFrame, colours: Sequence[str]) -> None:
    places = np.arange(len(table))
    for place, row, colour in zip(places, table.itertuples(), colours, strict=True):
        error = [[max(0, row.auc - row.low)], [max(0, row.high - row.auc)]]
        axis.errorbar(place, row.auc, error, fmt="o", color=colour, capsize=3)
        axis.annotate(f"{row.auc:.3f}", (place, row.auc), (7, 0), textcoords="offset points", va="center")
    axis.set_xticks(
        places, [str(name).replace("_", "_\u200b") for name in table["name"]], rotation=20, ha="right"
    )
    axis.margins(x=0.15)
    if axis.get_ylim()[0] < 0.5 < axis.get_ylim()[1]:
        axis.axhline(0.5, color="black", lw=0.8, ls=":")
