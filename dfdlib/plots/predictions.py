"""Figures of predictions: ROC, confusion, generators, mistakes, and the score of each frame of a video."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, roc_curve

from dfdlib.core.errors import DfdError
from dfdlib.data.manifest import LABELS, files_of
from dfdlib.evaluation import bootstrap, metrics
from dfdlib.images.decode import read_image
from dfdlib.plots.style import (
    _DASHES,
    FAKE,
    GREY,
    JUDGED,
    REAL,
    SERIES,
    _bare,
    _colour,
    _kind,
    _labelled,
    _shown,
    _styled,
)


@_styled
def confusion(predictions: pd.DataFrame, target: str = "label") -> Figure:
    """Show how often each class is taken for which: counts, and percentages of the true class.

    Args:
        predictions: See `tables.predictions_table`.
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
    axis.set_title(f"{100 * np.trace(counts) / counts.sum():.1f} % right (n = {counts.sum():,})")
    return figure


@_styled
def roc(predictions: pd.DataFrame, max_generators: int = 7) -> Figure:
    """Show the ROC curve with its AUC and 95 % interval, each generator's, the threshold and the EER.

    Args:
        predictions: See `tables.predictions_table`.
        max_generators: With more generators than this, and never more than 7, theirs are left out.

    Raises:
        DfdError: Only one class.
    """
    known = _labelled(predictions, "a ROC curve")
    fake, score = (known["label"] == "fake").to_numpy(), known["p_fake"].to_numpy(float)
    if fake.all() or not fake.any():
        raise DfdError("a ROC curve needs real and fake images; these are of one class.")
    value, rate = metrics.auc(fake, score), metrics.eer(fake, score)
    low, high = bootstrap.auc_interval(predictions)
    figure, axis = plt.subplots(figsize=(9, 5.2))
    x, y, _ = roc_curve(fake, score)
    label = f"all: AUC {value:.3f} (95 %: {low:.3f} to {high:.3f})"
    axis.plot(x, y, lw=2.2, color=JUDGED, zorder=3, label=label)
    if known["generator"].nunique() < min(max_generators + 1, len(SERIES)):
        _roc_of_generators(axis, known)
    called = (known["predicted"] == "fake").to_numpy()
    marks = {"ls": "none", "mfc": "white", "mec": "black", "mew": 1.5, "zorder": 4}
    place = called[~fake].mean(), called[fake].mean()
    axis.plot(*place, marker="o", ms=8, label=f"threshold {known['threshold'].iloc[0]:.2f}", **marks)
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
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@_styled
def generator_bars(predictions: pd.DataFrame) -> Figure:
    """Show the AUC of each generator's fakes against all real images, with 95 % group-bootstrap intervals.

    Raises:
        DfdError: No fake has a generator, or there is no real image.
    """
    table = bootstrap.by_generator(predictions).sort_values("auc").dropna(subset="auc")
    if table.empty:
        raise DfdError("bars by generator need real images and fake ones whose generator is known.")
    figure, axis = plt.subplots(figsize=(7.5, 1.2 + 0.4 * len(table)))
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
def worst_mistakes(predictions: pd.DataFrame, n: int = 12) -> Figure:
    """Show the most confident mistakes; say so where there are none.

    Args:
        predictions: See `tables.predictions_table`.
        n: At most so many images.

    Raises:
        DfdError: Nothing is labelled, or an image that cannot be read.
    """
    known = _labelled(predictions, "a look at mistakes")
    wrong = known[known["predicted"] != known["label"]]
    if wrong.empty:
        figure, axis = plt.subplots(figsize=(6, 1.2))
        axis.text(0.5, 0.5, f"No mistakes in {len(known):,} images.", ha="center", va="center")
        axis.axis("off")
        return figure
    belief = wrong["logit"].to_numpy(float) * np.where(wrong["label"] == "fake", 1, -1)  # in the truth
    shown = wrong.iloc[np.argsort(belief, kind="stable")[:n]]
    n_columns = min(6, len(shown))
    n_rows = -(-len(shown) // n_columns)
    size = (max(1.9 * n_columns, 4), 2.75 * n_rows + 0.4)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False)
    rows = zip(files_of(shown), shown.iterrows(), strict=True)
    for axis, (file, (_, image)) in zip(axes.flat, rows, strict=False):
        axis.imshow(read_image(file))
        verdict = f"{image['label']} called {image['predicted']}\np_fake {image['p_fake']:.3f}"
        axis.set_title(verdict, color=_colour(image["label"]), fontsize=9)
        axis.set_xlabel(f"{_kind(image)}\n{_tail(image['path'])}", fontsize=9)
    for axis in axes.flat:
        _bare(axis)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    figure.suptitle(f"The {len(shown)} most confident of {len(wrong):,} mistakes in {len(known):,} images")
    return figure


def _roc_of_generators(axis: Axes, known: pd.DataFrame) -> None:
    reals = known[known["label"] == "real"]
    fakes = known[known["label"] == "fake"].groupby("generator")
    for (name, part), colour, dashes in zip(fakes, SERIES[1:], _DASHES, strict=False):
        fake = np.repeat([0, 1], [len(reals), len(part)])
        score = np.concatenate([reals["p_fake"], part["p_fake"]])
        x, y, _ = roc_curve(fake, score)
        label = f"{_shown(name)}: {metrics.auc(fake, score):.3f} (n = {len(part):,})"
        axis.plot(x, y, lw=1.2, ls=dashes, color=colour, zorder=2, label=label)


def _tail(path: str, longest: int = 22) -> str:
    name = path.rsplit("/", 1)[-1]
    name = name if len(name) <= longest else "…" + name[-longest + 1 :]
    return name.replace("$", r"\$")


@_styled
def timeline(
    frames: pd.DataFrame,
    n_videos: int = 6,
    band: tuple[float, float] | None = None,
    title: str = "Frame by frame",
) -> Figure:
    """Show the probability of fake frame by frame, one line per video.

    Args:
        frames: Predictions of frames, with `video`, `frame` and, where they are known, `seconds`; see
            `clips.ClipDataset.frames` and `files.frame_scores`.
        n_videos: Videos to show: half real and half fake where labels are known.
        band: Scores from and below which the verdict is "can't tell", see `Decision.band`.
        title: What the figure is called, such as a file and its verdict.

    Raises:
        DfdError: No frame.
    """
    if frames.empty:
        raise DfdError("there is no frame to show.")
    first = frames.drop_duplicates("video")
    labels = first["label"].fillna("unlabelled")
    chosen = first[labels.groupby(labels).cumcount() < max(1, n_videos // labels.nunique())][:n_videos]
    when = "seconds" if "seconds" in frames else "frame"
    figure, axis = plt.subplots(figsize=(7, 3.2))
    if band is not None:
        axis.axhspan(*band, color=GREY, alpha=0.15, lw=0, label="can't tell")
    for video, label in zip(chosen["video"], chosen["label"], strict=True):
        part = frames[frames["video"] == video].sort_values(when)
        colour = {"real": REAL, "fake": FAKE}.get(label, GREY)
        axis.plot(part[when], part["p_fake"], color=colour, lw=1.2, marker="o", ms=3)
    for label, colour in (("real", REAL), ("fake", FAKE)):
        if (chosen["label"] == label).any():
            axis.plot([], [], color=colour, label=f"{label} videos")
    threshold = frames["threshold"].iloc[0]
    axis.axhline(threshold, color="black", lw=0.8, ls=":", label=f"threshold {threshold:.2f}")
    axis.set(xlabel=when, ylabel="p(fake)", ylim=(-0.02, 1.02), title=title)
    axis.legend()
    return figure
