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
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import confusion_matrix, roc_curve

from . import metrics
from .errors import DfdError
from .imageio import read_image
from .manifest import LABELS, root_of

# Okabe & Ito 2008: told apart by colour-blind readers and in print.
REAL, FAKE, GREY = "#0072B2", "#D55E00", "#7F7F7F"
SERIES = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#882255", "#7F7F7F")
_DASHES = ("-",) * 4 + ("--",) * 4  # a second cue, where colour is lost
_LEGEND = {"frameon": True, "framealpha": 0.9, "edgecolor": "none"}
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
    """Draw in our style, and leave no figure open: pyplot would keep it, and a notebook show it twice."""
    others = plt.get_fignums()
    with plt.style.context(["default", _STYLE]), plt.ioff():
        try:
            yield
        finally:
            for number in set(plt.get_fignums()) - set(others):
                plt.close(number)


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    @wraps(draw)
    def styled(*args: Any, **kwargs: Any) -> Figure:
        with _style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()  # one pass of the layout can leave texts overlapping
        return figure

    return styled


@_styled
def image_grid(manifest: pd.DataFrame, n_columns: int = 8, seed: int = 0) -> Figure:
    """Show images: real ones left and fake ones right, with their generators.

    Args:
        manifest: A manifest or a predictions table; images without a label are left out.
        n_columns: At most so many images a row, half of them fake.
        seed: Draws the images, in turn from each generator.

    Returns:
        A row for each category, at most six; one row where there are none.

    Raises:
        DfdError: No labelled image, or one that cannot be read.
    """
    labelled = _labelled(manifest, "an image grid")
    root = root_of(manifest)
    categories = sorted(labelled["category"].dropna().unique())[:6] or [None]
    chosen = {
        (category, label): _spread(_part(labelled, category, label), max(1, n_columns // 2), seed)
        for category in categories
        for label in LABELS
    }
    n_real, n_fake = (max(len(chosen[category, label]) for category in categories) for label in LABELS)
    figure, axes = plt.subplots(
        len(categories),
        n_real + n_fake,
        figsize=(max(1.55 * (n_real + n_fake) + 0.3, 4), 1.85 * len(categories) + 0.3),
        squeeze=False,
    )
    for row, category in zip(axes, categories, strict=True):
        for label, places in ((LABELS[0], row[:n_real]), (LABELS[1], row[n_real:])):
            for axis, (_, image) in zip(places, chosen[category, label].iterrows(), strict=False):
                axis.imshow(read_image(root / image["path"]))
                axis.set_title(_kind(image), fontsize=8, color=_colour(label))
        row[0].set_ylabel(_shown(category or ""), fontsize=10)
    for axis in axes.flat:
        _bare(axis)
    figure.suptitle(f"{len(labelled):,} labelled images: real (blue) and fake (orange)", fontsize=11)
    return figure


@_styled
def learning_curves(history: pd.DataFrame) -> Figure:
    """Show loss, AUC and accuracy over the epochs; the best epoch is marked.

    Args:
        history: A row an epoch, as `training.fit` returns it or `training_log.csv` holds it: `epoch`,
            `train_loss`, `val_loss`, `best` and those that there are of `val_auc`, `val_accuracy` and
            `val_category_accuracy`.

    Raises:
        DfdError: No epoch.
    """
    if history.empty:
        raise DfdError("learning curves need at least one epoch, and this history has none.")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    epochs, size = history["epoch"], 3 if len(history) > 1 else 6
    left.plot(epochs, history["train_loss"], "o--", ms=size, color=GREY, label="training")
    left.plot(epochs, history["val_loss"], "o-", ms=size, color=FAKE, label="validation")
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    curves = (
        ("val_auc", "AUC real/fake", "o-", FAKE),
        ("val_accuracy", "accuracy real/fake", "s-", REAL),
        ("val_category_accuracy", "accuracy category", "^-", "#009E73"),
    )
    for name, label, form, colour in curves:
        if name in history and history[name].notna().any():
            right.plot(epochs, history[name], form, ms=size, color=colour, label=label)
    right.margins(y=0.1)
    right.set(xlabel="epoch", ylabel="AUC, accuracy", title="Validation", ylim=(None, 1.005))
    for axis in (left, right):
        for epoch in epochs[history["best"].astype(bool)] if "best" in history else ():
            axis.axvline(epoch, color="black", lw=0.8, ls=":", label=f"best epoch ({epoch})")
        axis.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.legend(**_LEGEND)
    return figure


@_styled
def confusion(predictions: pd.DataFrame, target: str = "label") -> Figure:
    """Show how often each class is taken for which: counts, and percentages of the true class.

    Args:
        predictions: See `inference.predictions_table`.
        target: `label` for real/fake at the detector's threshold, or `category`.

    Raises:
        DfdError: Nothing is labelled, or the model predicts no category.
    """
    if target not in ("label", "category"):
        raise DfdError(f"a confusion matrix is of 'label' or 'category', not of {target!r}.")
    predicted = "predicted" if target == "label" else "predicted_category"
    if predicted not in predictions:
        raise DfdError(
            f"the predictions lack the column {predicted}; this model does not predict the {target}."
        )
    known = _labelled(predictions, f"a confusion matrix of the {target}", target)
    names = [*LABELS] if target == "label" else sorted({*known[target], *known[predicted]})
    counts = confusion_matrix(known[target].astype(str), known[predicted].astype(str), labels=names)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    texts = [f"{n:,}\n{100 * share:.1f} %" for n, share in zip(counts.flat, shares.flat, strict=True)]
    side = 2.6 + 0.6 * len(names)
    figure, axis = plt.subplots(figsize=(side + (0.8 if target == "label" else 1.6), side))
    ticks = [_shown(name) for name in names]
    sns.heatmap(
        100 * shares,
        annot=np.reshape(texts, counts.shape),
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=100,
        square=True,
        ax=axis,
        xticklabels=ticks,
        yticklabels=ticks,
        cbar_kws={"label": "share of the true class (%)", "shrink": 0.8},
        linewidths=1,
        linecolor="white",
    )
    axis.tick_params(length=0)
    axis.tick_params(axis="y", rotation=0)
    if len(names) > 4:
        axis.set_xticks(axis.get_xticks(), ticks, rotation=40, ha="right", rotation_mode="anchor")
    axis.set(xlabel="predicted", ylabel="true")
    axis.set_title(f"{100 * np.trace(counts) / counts.sum():.1f} % of {counts.sum():,} images right")
    return figure


@_styled
def roc(predictions: pd.DataFrame, max_generators: int = 8) -> Figure:
    """Show the ROC curve with its AUC and 95 % interval, each generator's, the threshold and the EER.

    Args:
        predictions: See `inference.predictions_table`.
        max_generators: With more generators than this, and never more than 8, theirs are left out.

    Raises:
        DfdError: Only one class.
    """
    known = _labelled(predictions, "a ROC curve")
    fake, score = (known["label"] == "fake").to_numpy(), known["p_fake"].to_numpy(float)
    if fake.all() or not fake.any():
        raise DfdError("a ROC curve needs real and fake images; these are of one class.")
    value, rate = metrics.auc(fake, score), metrics.eer(fake, score)
    low, high = metrics.auc_interval(predictions)
    threshold = predictions.attrs.get("threshold", 0.5)
    figure, axis = plt.subplots(figsize=(5.2, 5.2))
    x, y, _ = roc_curve(fake, score)
    label = f"all: AUC {value:.3f} (95 %: {low:.3f} to {high:.3f})"
    axis.plot(x, y, lw=2.2, color="black", zorder=3, label=label)
    if known["generator"].nunique() <= min(max_generators, len(SERIES)):
        _roc_of_generators(axis, known)
    called = score >= threshold
    marks = {"ls": "none", "mfc": "white", "mec": "black", "mew": 1.5, "zorder": 4}
    place = called[~fake].mean(), called[fake].mean()
    axis.plot(*place, marker="o", ms=8, label=f"threshold {threshold:.2f}", **marks)
    axis.plot(rate, 1 - rate, marker="s", ms=6, label=f"EER {100 * rate:.1f} %", **marks)
    axis.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":", zorder=1, label="chance")
    axis.set(
        xlabel="false alarm rate (real called fake)",
        ylabel="hit rate (fake called fake)",
        xlim=(-0.015, 1.015),
        ylim=(-0.015, 1.015),
        aspect="equal",
    )
    axis.set_title(f"ROC, {(~fake).sum():,} real and {fake.sum():,} fake images")
    axis.legend(loc="lower right", **_LEGEND)
    return figure


@_styled
def generator_bars(predictions: pd.DataFrame) -> Figure:
    """Show the AUC of each generator's fakes against all real images, with 95 % group-bootstrap intervals.

    Raises:
        DfdError: No fake has a generator, or there is no real image.
    """
    table = metrics.by_generator(predictions).sort_values("auc").dropna(subset="auc")
    if table.empty:
        raise DfdError("bars by generator need real images and fake ones whose generator is known.")
    figure, axis = plt.subplots(figsize=(6.2, 1.2 + 0.4 * len(table)))
    places = np.arange(len(table))
    spread = [table["auc"] - table["auc_low"], table["auc_high"] - table["auc"]]
    axis.errorbar(table["auc"], places, xerr=np.maximum(spread, 0), fmt="o", color=FAKE, capsize=3)
    axis.axvline(0.5, color=GREY, lw=0.8, ls="--")
    labels = [f"{_shown(name)} (n = {n:,})" for name, n in table["n"].items()]
    axis.set_yticks(places, labels)
    lowest = min(0.5, np.nanmin(table[["auc", "auc_low"]]))
    axis.set(xlabel="AUC with 95 % interval (dashed: chance)", xlim=(max(lowest - 0.03, -0.015), 1.015))
    axis.set_ylim(-0.6, len(table) - 0.4)
    axis.set_title(f"Fakes of each generator against {(predictions['label'] == 'real').sum():,} real images")
    return figure


@_styled
def score_histogram(predictions: pd.DataFrame) -> Figure:
    """Show how `p_fake` is distributed for real and for fake images, and the threshold.

    Raises:
        DfdError: Nothing is labelled.
    """
    known = _labelled(predictions, "a histogram of scores")
    threshold = predictions.attrs.get("threshold", 0.5)
    figure, axis = plt.subplots(figsize=(6.2, 3.2))
    bins = np.linspace(0, 1, 26)
    for label, form in zip(LABELS, ({"hatch": None}, {"hatch": "///"}), strict=True):
        scores = known.loc[known["label"] == label, "p_fake"].to_numpy(float)
        share = np.full(len(scores), 100 / max(len(scores), 1))
        name = f"{label} (n = {len(scores):,})"
        axis.hist(
            scores,
            bins,
            weights=share,
            alpha=0.6,
            color=_colour(label),
            label=name,
            edgecolor="white",
            **form,
        )
    axis.axvline(threshold, color="black", lw=1.2, ls="--", label=f"threshold {threshold:.2f}")
    axis.set(xlabel="p_fake, the probability of fake", ylabel="images of the class (%)", xlim=(-0.01, 1.01))
    axis.set_title("Scores of real and of fake images")
    axis.legend(loc="upper center", **_LEGEND)
    return figure


@_styled
def worst_mistakes(predictions: pd.DataFrame, n: int = 12) -> Figure:
    """Show the wrong images that the detector was surest of; say so where there are none.

    Args:
        predictions: See `inference.predictions_table`.
        n: At most so many images.

    Raises:
        DfdError: Nothing is labelled, or an image that cannot be read.
    """
    known = _labelled(predictions, "a look at mistakes")
    wrong = known[known["predicted"] != known["label"]]
    if wrong.empty:
        figure, axis = plt.subplots(figsize=(6, 1.2))
        axis.text(0.5, 0.5, f"No mistakes in {len(known):,} images.", ha="center", va="center", fontsize=11)
        axis.axis("off")
        return figure
    belief = wrong["logit"].to_numpy(float) * np.where(wrong["label"] == "fake", 1, -1)  # in the truth
    shown = wrong.iloc[np.argsort(belief, kind="stable")[:n]]
    n_columns = min(6, len(shown))
    n_rows = -(-len(shown) // n_columns)
    size = (max(1.9 * n_columns, 4), 2.75 * n_rows + 0.4)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False)
    root = root_of(predictions)
    for axis, (_, image) in zip(axes.flat, shown.iterrows(), strict=False):
        axis.imshow(read_image(root / image["path"]))
        verdict = f"{image['label']} called {image['predicted']}\np_fake {image['p_fake']:.3f}"
        axis.set_title(verdict, fontsize=8, color=_colour(image["label"]))
        axis.set_xlabel(f"{_kind(image)}\n{_tail(image['path'])}", fontsize=7)
    for axis in axes.flat:
        _bare(axis)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    figure.suptitle(
        f"The {len(shown)} surest of {len(wrong):,} mistakes in {len(known):,} images", fontsize=11
    )
    return figure


def _roc_of_generators(axis: Axes, known: pd.DataFrame) -> None:
    reals = known[known["label"] == "real"]
    fakes = known[known["label"] == "fake"].groupby("generator")
    for (name, part), colour, dashes in zip(fakes, SERIES, _DASHES, strict=False):
        fake = np.repeat([0, 1], [len(reals), len(part)])
        score = np.concatenate([reals["p_fake"], part["p_fake"]])
        x, y, _ = roc_curve(fake, score)
        label = f"{_shown(name)}: {metrics.auc(fake, score):.3f} (n = {len(part):,})"
        axis.plot(x, y, lw=1.2, ls=dashes, color=colour, zorder=2, label=label)


def _part(labelled: pd.DataFrame, category: str | None, label: str) -> pd.DataFrame:
    rows = labelled if category is None else labelled[labelled["category"] == category]
    return rows[rows["label"] == label]


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


def _shown(name: str, longest: int = 22) -> str:
    """Return a name as text that fits beside or below an image and is no formula."""
    text = str(name).replace("_", " ")
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return text.replace("$", r"\$")


def _kind(image: pd.Series) -> str:
    return _shown(image["generator"] if pd.notna(image["generator"]) else image["label"])


def _tail(path: str, longest: int = 24) -> str:
    name = path.rsplit("/", 1)[-1]
    name = name if len(name) <= longest else "…" + name[-longest + 1 :]
    return name.replace("$", r"\$")


def _labelled(table: pd.DataFrame, what: str, column: str = "label") -> pd.DataFrame:
    """Return the rows where the column is known; refuse a table without any."""
    known = table[table[column].notna()]
    if known.empty:
        raise DfdError(f"{what} needs images whose {column} is known, and this table has none.")
    return known
