"""Every figure, as a function from a table to a matplotlib figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, roc_curve

from . import metrics
from .errors import DfdError
from .imageio import read_image
from .manifest import LABELS, root_of

# Okabe & Ito 2008: told apart by colour-blind readers and in print.
REAL, FAKE, GREY = "#0072B2", "#D55E00", "#7F7F7F"
_GENERATORS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#000000", "#7F7F7F", "#882255")
_STYLE = {
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "font.size": 9,
}


@contextmanager
def _style() -> Iterator[None]:
    with plt.style.context(["default", _STYLE]), plt.ioff():
        yield


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    @wraps(draw)
    def styled(*args: Any, **kwargs: Any) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    return styled


@_styled
def image_grid(manifest: pd.DataFrame, n_columns: int = 8, seed: int = 0) -> Figure:
    """Show images: a row for each category, real ones left and fake ones right, with their generators."""
    labelled = manifest[manifest["label"].notna()]
    _refuse_empty(labelled, "an image grid")
    categories = sorted(labelled["category"].dropna().unique())[:6] or [None]
    figure, axes = plt.subplots(
        len(categories), n_columns, figsize=(1.55 * n_columns, 1.85 * len(categories)), squeeze=False
    )
    root = root_of(manifest)
    for row, category in zip(axes, categories, strict=True):
        rows = labelled if category is None else labelled[labelled["category"] == category]
        halves = ((LABELS[0], row[: n_columns // 2]), (LABELS[1], row[n_columns // 2 :]))
        for label, places in halves:
            chosen = _spread(rows[rows["label"] == label], len(places), seed)
            for axis, (_, image) in zip(places, chosen.iterrows(), strict=False):
                axis.imshow(read_image(root / image["path"]))
                title = image["generator"] if pd.notna(image["generator"]) else label
                axis.set_title(str(title).replace("_", " "), fontsize=8, color=_colour(label))
        row[0].set_ylabel((category or "").replace("_", " "), fontsize=10)
    for axis in axes.flat:
        _bare(axis)
    figure.suptitle(f"{len(labelled):,} labelled images: real (blue) and fake (orange)", fontsize=11)
    return figure


@_styled
def learning_curves(history: pd.DataFrame) -> Figure:
    """Show loss, AUC and accuracy over the epochs; the best epoch is marked."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    epochs = history["epoch"]
    left.plot(epochs, history["train_loss"], "o-", ms=3, color=GREY, label="training")
    left.plot(epochs, history["val_loss"], "o-", ms=3, color=FAKE, label="validation")
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    curves = (
        ("val_auc", "AUC real/fake", FAKE),
        ("val_accuracy", "accuracy real/fake", REAL),
        ("val_category_accuracy", "accuracy category", "#009E73"),
    )
    for name, label, colour in curves:
        if name in history and history[name].notna().any():
            right.plot(epochs, history[name], "o-", ms=3, color=colour, label=label)
    right.set(xlabel="epoch", ylabel="AUC, accuracy", title="Validation", ylim=(None, 1.005))
    best = history["epoch"][history["best"]] if "best" in history else []
    for axis in (left, right):
        for epoch in best:
            axis.axvline(epoch, color="black", lw=0.8, ls=":", label="best epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend()
    return figure


@_styled
def confusion(predictions: pd.DataFrame, target: str = "label") -> Figure:
    """Show the confusion matrix of real/fake (`target="label"`) or of the categories (`"category"`)."""
    predicted = {"label": "predicted", "category": "predicted_category"}[target]
    known = predictions[predictions[target].notna()]
    _refuse_empty(known, f"a confusion matrix of the {target}")
    names = [*LABELS] if target == "label" else sorted({*known[target], *known[predicted]})
    counts = confusion_matrix(known[target].astype(str), known[predicted].astype(str), labels=names)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    texts = np.array(
        [
            [f"{n}\n{share:.1%}" for n, share in zip(*row, strict=True)]
            for row in zip(counts, shares, strict=True)
        ]
    )
    side = 2.6 + 0.6 * len(names)
    figure, axis = plt.subplots(figsize=(side + 0.8, side))
    ticks = [name.replace("_", " ") for name in names]
    sns.heatmap(
        shares, annot=texts, fmt="", cmap="Blues", vmin=0, vmax=1, square=True, ax=axis, xticklabels=ticks, yticklabels=ticks,
        cbar_kws={"label": "share of the true class", "shrink": 0.8}, linewidths=1, linecolor="white",
    )  # fmt: skip
    axis.tick_params(axis="y", rotation=90 if len(names) > 2 else 0)
    axis.set(xlabel="predicted", ylabel="true")
    axis.set_title(f"{np.trace(counts) / counts.sum():.1%} of {counts.sum():,} images right")
    return figure


@_styled
def roc(predictions: pd.DataFrame, max_generators: int = 8) -> Figure:
    """Show the ROC curve with its AUC and 95 % interval, each generator's, the threshold and the EER."""
    known = predictions[predictions["label"].notna()]
    truth, score = (known["label"] == "fake").to_numpy(int), known["p_fake"].to_numpy()
    if not 0 < truth.sum() < len(truth):
        raise DfdError("a ROC curve needs real and fake images; these are of one class.")
    figure, axis = plt.subplots(figsize=(5.2, 5))
    axis.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls="--", label="chance")
    reals = known[known["label"] == "real"]
    generators = known.groupby("generator") if known["generator"].nunique() <= max_generators else []
    for (name, fakes), colour in zip(generators, _GENERATORS, strict=False):
        part = pd.concat([reals, fakes])
        part_truth = (part["label"] == "fake").to_numpy(int)
        x, y, _ = roc_curve(part_truth, part["p_fake"])
        value = metrics.auc(part_truth, part["p_fake"])
        axis.plot(x, y, lw=1, color=colour, label=f"{name.replace('_', ' ')}: {value:.3f} (n = {len(fakes)})")
    x, y, _ = roc_curve(truth, score)
    low, high = metrics.auc_interval(predictions)
    axis.plot(
        x, y, lw=2.2, color=FAKE, label=f"all: AUC {metrics.auc(truth, score):.3f} [{low:.3f}, {high:.3f}]"
    )
    rate = metrics.eer(truth, score)
    axis.plot(rate, 1 - rate, "s", ms=6, mfc="white", mec="black", label=f"EER {rate:.3f}")
    threshold = predictions.attrs.get("threshold", 0.5)
    called = score >= threshold
    axis.plot(
        called[truth == 0].mean(),
        called[truth == 1].mean(),
        "o",
        ms=7,
        color="black",
        label=f"threshold {threshold:.2f}",
    )
    axis.set(
        xlabel="false alarm rate (real called fake)",
        ylabel="hit rate (fake called fake)",
        xlim=(-0.01, 1),
        ylim=(0, 1.01),
    )
    axis.set_title(f"ROC, {(truth == 0).sum():,} real and {truth.sum():,} fake images")
    axis.set_aspect("equal")
    axis.legend(loc="lower right")
    return figure


@_styled
def generator_bars(predictions: pd.DataFrame) -> Figure:
    """Show the AUC of each generator's fakes against all real images, with 95 % group-bootstrap intervals."""
    table = metrics.by_generator(predictions).sort_values("auc")
    _refuse_empty(table, "bars by generator")
    figure, axis = plt.subplots(figsize=(6, 1.2 + 0.4 * len(table)))
    places = np.arange(len(table))
    spread = [table["auc"] - table["auc_low"], table["auc_high"] - table["auc"]]
    axis.errorbar(table["auc"], places, xerr=np.maximum(spread, 0), fmt="o", color=FAKE, capsize=3)
    axis.axvline(0.5, color=GREY, lw=0.8, ls="--")
    labels = [f"{name.replace('_', ' ')} (n = {int(n)})" for name, n in table["n"].items()]
    axis.set_yticks(places, labels)
    axis.set(
        xlabel="AUC against all real images, 95 % interval; dashed: chance",
        xlim=(min(0.45, table["auc_low"].min() - 0.02), 1.01),
    )
    axis.set_ylim(-0.6, len(table) - 0.4)
    axis.set_title("Which fakes are found")
    return figure


@_styled
def score_histogram(predictions: pd.DataFrame) -> Figure:
    """Show how `p_fake` is distributed for real and for fake images, and the threshold."""
    known = predictions[predictions["label"].notna()]
    _refuse_empty(known, "a histogram of scores")
    figure, axis = plt.subplots(figsize=(6, 3.2))
    bins = np.linspace(0, 1, 26)
    for label in LABELS:
        scores = known.loc[known["label"] == label, "p_fake"]
        axis.hist(scores, bins, alpha=0.6, color=_colour(label), label=f"{label} (n = {len(scores):,})")
    axis.axvline(predictions.attrs.get("threshold", 0.5), color="black", lw=1, ls=":", label="threshold")
    axis.set(xlabel="p_fake", ylabel="images", title="Scores")
    axis.legend()
    return figure


@_styled
def worst_mistakes(predictions: pd.DataFrame, n: int = 12) -> Figure:
    """Show the wrong images that the detector was surest of; say so where there are none."""
    known = predictions[predictions["label"].notna()]
    wrong = known[known["predicted"] != known["label"]]
    surest = (wrong["logit"] * np.where(wrong["label"] == "fake", 1, -1)).sort_values().index[:n]
    wrong = wrong.loc[surest]
    if wrong.empty:
        figure, axis = plt.subplots(figsize=(6, 1.2))
        axis.text(0.5, 0.5, f"no mistakes in {len(known):,} images", ha="center", va="center")
        axis.axis("off")
        return figure
    n_columns = min(6, len(wrong))
    n_rows = -(-len(wrong) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(1.9 * n_columns, 2.5 * n_rows), squeeze=False)
    root = root_of(predictions)
    for axis, (_, image) in zip(axes.flat, wrong.iterrows(), strict=False):
        axis.imshow(read_image(root / image["path"]))
        kind = image["generator"].replace("_", " ") if pd.notna(image["generator"]) else image["label"]
        axis.set_title(
            f"{image['label']} called {image['predicted']}\np_fake {image['p_fake']:.3f}", fontsize=8
        )
        axis.set_xlabel(
            f"{kind}\n{image['path'].rsplit('/', 1)[-1][-24:]}", fontsize=7, color=_colour(image["label"])
        )
    for axis in axes.flat:
        _bare(axis)
    for axis in axes.flat[len(wrong) :]:
        axis.set_visible(False)
    figure.suptitle(f"The {len(wrong)} surest mistakes", fontsize=11)
    return figure


def _spread(rows: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Draw n rows, in turn from each generator."""
    shuffled = rows.sample(frac=1, random_state=seed)
    turn = shuffled.groupby(shuffled["generator"].fillna("")).cumcount()
    return shuffled.assign(turn=turn).sort_values("turn", kind="stable").head(n)


def _bare(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _colour(label: str) -> str:
    return FAKE if label == "fake" else REAL


def _refuse_empty(table: pd.DataFrame, what: str) -> None:
    if table.empty:
        raise DfdError(f"{what} needs labelled images, and there are none in this table.")
