"""Figures about a data set: its images and clips, how many, how large, how compressed, and what leaks."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dfdlib.core.errors import DfdError
from dfdlib.data.clips import ClipDataset
from dfdlib.data.manifest import LABELS, files_of
from dfdlib.evaluation.audit import LEAK_FROM, LeakProbe
from dfdlib.images.decode import read_image
from dfdlib.plots.style import FAKE, GREY, REAL, _bare, _colour, _kind, _labelled, _shown, _styled


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
            images = chosen[category, label]
            rows = zip(files_of(images), images.iterrows(), strict=True)
            for axis, (file, (_, image)) in zip(places, rows, strict=False):
                axis.imshow(read_image(file))
                axis.set_title(_kind(image), fontsize=8, color=_colour(label))
        row[0].set_ylabel(_shown(category or ""), fontsize=10)
    for axis in axes.flat:
        _bare(axis)
    figure.suptitle(f"{len(labelled):,} labelled images: real (blue) and fake (orange)", fontsize=11)
    return figure


def _part(labelled: pd.DataFrame, category: str | None, label: str) -> pd.DataFrame:
    rows = labelled if category is None else labelled[labelled["category"] == category]
    return rows[rows["label"] == label]


def _spread(rows: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Draw n rows, in turn from each generator."""
    shuffled = rows.sample(frac=1, random_state=seed)
    turn = shuffled.groupby(shuffled["generator"].fillna("")).cumcount()
    return shuffled.assign(turn=turn).sort_values("turn", kind="stable").head(n)


@_styled
def clip_strips(clips: ClipDataset, n_groups: int = 3, n_frames: int = 10, seed: int = 0) -> Figure:
    """Show the frames of some clips in a row each, a real clip above a fake of its group where there is one.

    Args:
        clips: The clips.
        n_groups: Groups to show.
        n_frames: Frames of each clip, spread over it.
        seed: Draws the groups.

    Raises:
        DfdError: No clip.
    """
    if not len(clips):
        raise DfdError("there is no clip to show.")
    manifest = clips.manifest
    groups = manifest["group"].drop_duplicates().sample(frac=1, random_state=seed)[:n_groups]
    members = manifest[manifest["group"].isin(groups)]
    shown = members.groupby(["group", members["label"].fillna("unlabelled")], sort=False).head(1).index
    shown = sorted(shown, key=lambda i: (manifest["group"][i], manifest["label"][i] == "fake"))[
        : 2 * n_groups
    ]
    batch = clips.batch(shown)["image"].permute(0, 1, 3, 4, 2).numpy()
    places = np.linspace(0, batch.shape[1] - 1, min(n_frames, batch.shape[1])).round().astype(int)
    figure, axes = plt.subplots(len(shown), 1, figsize=(10, 1.05 * len(shown)), squeeze=False)
    for axis, row, frames in zip(axes[:, 0], shown, batch, strict=True):
        label = manifest["label"][row] or "unlabelled"
        axis.imshow(np.concatenate(list(frames[places]), 1), interpolation="nearest")
        axis.set_ylabel(label, color={"real": REAL, "fake": FAKE}.get(label, GREY), fontsize=10)
        axis.set(xticks=[], yticks=[])
        for side in axis.spines.values():
            side.set_visible(False)
    figure.suptitle(
        f"{len(places)} of {batch.shape[1]} frames of each clip, in time from left to right", fontsize=11
    )
    return figure


_COLOURS = {"real": REAL, "fake": FAKE, "unlabelled": GREY}
_SHOWN = (("bytes", "file size (KB)"), ("height", "height (pixels)"), ("jpeg_quality", "JPEG quality"))
_MORE = (
    ("bytes_per_pixel", "bytes a pixel"),
    ("brightness", "brightness (grey levels)"),
    ("red", "mean red"),
)


@_styled
def split_counts(manifest: pd.DataFrame) -> Figure:
    """Show the number of images by split and label, and of fakes by generator.

    Raises:
        DfdError: No image.
    """
    if manifest.empty:
        raise DfdError("there is no image to count.")
    fakes = manifest[manifest["generator"].notna()]
    figure, axes = plt.subplots(
        1, 2 if len(fakes) else 1, figsize=(10 if len(fakes) else 5, 3.4), squeeze=False
    )
    labels = manifest["label"].fillna("unlabelled")
    counts = pd.crosstab(manifest["split"].fillna("no split"), labels)
    counts = counts.reindex([name for name in ("train", "val", "test", "no split") if name in counts.index])
    counts = counts[[name for name in _COLOURS if name in counts]]
    _bars(axes[0, 0], counts, [_COLOURS[label] for label in counts.columns])
    axes[0, 0].set(ylabel="images", title=f"{len(manifest):,} images")
    if len(fakes):
        by_generator = pd.crosstab(fakes["generator"], fakes["split"].fillna("no split"))
        by_generator = by_generator[
            [name for name in ("train", "val", "test", "no split") if name in by_generator]
        ]
        by_generator = by_generator.loc[by_generator.sum(axis=1).nlargest(8).index]
        _bars(axes[0, 1], by_generator, ["#444444", "#888888", "#BBBBBB", "#DDDDDD"])
        axes[0, 1].set(ylabel="fakes", title="Fakes by generator")
        axes[0, 1].tick_params(axis="x", rotation=20)
    return figure


@_styled
def fact_distributions(facts: pd.DataFrame, labels: pd.Series) -> Figure:
    """Show how size, compression and colour are distributed over real and fake images.

    Args:
        facts: See `duplicates.image_facts`.
        labels: `real`, `fake` or missing, in the same order.

    Raises:
        DfdError: No image.
    """
    if facts.empty:
        raise DfdError("there is no image to show facts of.")
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 5.2))
    labels = labels.fillna("unlabelled").to_numpy()
    for axis, (name, title) in zip(axes.flat, (*_SHOWN, *_MORE), strict=True):
        values = facts[name].to_numpy(float) / (1024 if name == "bytes" else 1)
        known = values[np.isfinite(values)]
        if not len(known):
            axis.set(title=title, xticks=[], yticks=[])
            axis.text(0.5, 0.5, "none has any", ha="center", transform=axis.transAxes)
            continue
        low, high = np.quantile(known, [0.005, 0.995])
        bins = np.linspace(low - 1e-6, high + 1e-6, 31) if high > low else np.linspace(low - 1, high + 1, 31)
        for label in [label for label in _COLOURS if (labels == label).any()]:
            chosen = values[(labels == label) & np.isfinite(values)]
            axis.hist(
                chosen,
                bins,
                density=len(chosen) > 0,
                histtype="step",
                lw=1.5,
                color=_COLOURS[label],
                label=label,
            )
        axis.set(title=title, yticks=[])
    axes[0, 0].legend()
    figure.suptitle(f"Shares of {len(facts):,} images (the outer 1 % not shown)", fontsize=11)
    return figure


@_styled
def leak_bars(probe: LeakProbe) -> Figure:
    """Show how well each fact alone, and all together, tell real from fake."""
    figure, axis = plt.subplots(figsize=(6.5, 3.8))
    table = probe.facts.iloc[::-1]
    axis.barh(table["fact"], table["auc"] - 0.5, left=0.5, color=GREY)
    error = [[max(0, probe.auc - probe.low)], [max(0, probe.high - probe.auc)]]
    axis.barh(["all, cross-validated"], [probe.auc - 0.5], left=0.5, color=FAKE, xerr=error, capsize=3)
    axis.axvline(0.5, color="black", lw=0.8)
    axis.axvline(
        LEAK_FROM, color="black", lw=0.8, ls=":", label=f"a leak where the interval lies above {LEAK_FROM}"
    )
    axis.set(xlabel="AUC real/fake", xlim=(min(0.45, probe.low - 0.02), max(0.75, probe.high + 0.03)))
    axis.set_title("What tells real from fake without looking at the image")
    axis.legend(loc="lower right")
    return figure


def _bars(axis: plt.Axes, counts: pd.DataFrame, colours: list[str]) -> None:
    places, width = np.arange(len(counts)), 0.8 / counts.shape[1]
    for i, (name, colour) in enumerate(zip(counts.columns, colours, strict=False)):
        bars = axis.bar(
            places + (i - (counts.shape[1] - 1) / 2) * width, counts[name], width, color=colour, label=name
        )
        axis.bar_label(bars, fontsize=7, padding=1)
    axis.set_xticks(places, [str(name).replace("_", " ") for name in counts.index])
    axis.margins(y=0.15)
    axis.legend(ncols=counts.shape[1], loc="upper right")
