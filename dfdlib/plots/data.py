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
from dfdlib.plots.style import FAKE, GREY, JUDGED, REAL, _bare, _colour, _kind, _labelled, _shown, _styled


@_styled
def image_grid(manifest: pd.DataFrame, n_columns: int = 8, seed: int = 0) -> Figure:
    """Show real and fake images in turn, with their generators: a fake beside its original where there is one.

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
    n = max(1, n_columns // labelled["label"].nunique())
    chosen = [_row(labelled, category, n, seed, i * n) for i, category in enumerate(categories)]
    n_columns = max(map(len, chosen))
    figure, axes = plt.subplots(
        len(categories),
        n_columns,
        figsize=(max(1.46 * n_columns + 0.3, 4), 1.85 * len(categories) + 0.3),
        squeeze=False,
    )
    for row, category, images in zip(axes, categories, chosen, strict=True):
        for axis, file, (_, image) in zip(row, files_of(images), images.iterrows(), strict=False):
            axis.imshow(read_image(file))
            axis.set_title(_kind(image), color=_colour(image["label"]), fontsize=9)
        row[0].set_ylabel(_shown(category or ""))
    for axis in axes.flat:
        _bare(axis)
    figure.suptitle(f"{len(labelled):,} labelled images: real (blue) and fake (orange)")
    return figure


def _row(labelled: pd.DataFrame, category: str | None, n: int, seed: int, first: int) -> pd.DataFrame:
    """Draw n real and n fake images of a category in turn, the fakes from each generator from the `first` on."""
    rows = labelled if category is None else labelled[labelled["category"] == category]
    rows = rows.sample(frac=1, random_state=seed)
    reals, fakes = (rows[rows["label"] == label] for label in LABELS)
    family = pd.factorize(fakes["generator"], sort=True)[0]
    turn = fakes.groupby(family).cumcount()
    fakes = fakes.iloc[np.lexsort(((family - first) % max(1, len(set(family))), turn))]
    others = reals[~reals["group"].isin(fakes["group"][:n])]
    chosen = []
    for i in range(n):
        original = reals[reals["group"].isin(fakes["group"].iloc[i : i + 1])].head(1)
        chosen += [original if len(original) else others.iloc[i : i + 1], fakes.iloc[i : i + 1]]
    return pd.concat(chosen)


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
        axis.set_ylabel(label, color={"real": REAL, "fake": FAKE}.get(label, GREY))
        axis.set(xticks=[], yticks=[])
        for side in axis.spines.values():
            side.set_visible(False)
    figure.suptitle(f"{len(places)} of {batch.shape[1]} frames of each clip, in time from left to right")
    return figure


_COLOURS = {"real": REAL, "fake": FAKE, "unlabelled": GREY}
_TITLES = {
    "bytes": "file size (KB)",
    "bytes_per_pixel": "bytes per pixel",
    "width": "width (pixels)",
    "height": "height (pixels)",
    "jpeg_quality": "JPEG quality",
    "red": "mean red (0 to 255)",
    "green": "mean green",
    "blue": "mean blue",
    "brightness": "mean brightness",
}


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
        1, 2 if len(fakes) else 1, figsize=(11.5 if len(fakes) else 5, 3.8), squeeze=False
    )
    labels = manifest["label"].fillna("unlabelled")
    counts = pd.crosstab(manifest["split"].fillna("no split"), labels)
    counts = counts.reindex([name for name in ("train", "val", "test", "no split") if name in counts.index])
    counts = counts[[name for name in _COLOURS if name in counts]]
    _bars(axes[0, 0], counts, [_COLOURS[label] for label in counts.columns])
    axes[0, 0].set(ylabel="images", title=f"{len(manifest):,} images by split")
    if len(fakes):
        by_generator = pd.crosstab(fakes["generator"], fakes["split"].fillna("no split"))
        by_generator = by_generator[
            [name for name in ("train", "val", "test", "no split") if name in by_generator]
        ]
        by_generator = by_generator.loc[by_generator.sum(axis=1).nlargest(8).index]
        _bars(axes[0, 1], by_generator, ["#444444", "#888888", "#BBBBBB", "#DDDDDD"])
        axes[0, 1].set(ylabel="fakes", title="Fakes by generator")
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
    figure, axes = plt.subplots(3, 3, figsize=(12, 7.5))
    labels = labels.fillna("unlabelled").to_numpy()
    for axis, (name, title) in zip(axes.flat, _TITLES.items(), strict=True):
        values = facts[name].to_numpy(float) / (1024 if name == "bytes" else 1)
        known = values[np.isfinite(values)]
        axis.set(title=title)
        if len(np.unique(known)) < 2:
            axis.set(xticks=[], yticks=[])
            text = f"all {known[0]:g}" if len(known) else "none has any"
            axis.text(0.5, 0.5, text, ha="center", transform=axis.transAxes)
            continue
        bins = _bins(known)
        for label in [label for label in _COLOURS if (labels == label).any()]:
            chosen = values[(labels == label) & np.isfinite(values)]
            share = np.full(len(chosen), 100 / max(1, len(chosen)))
            axis.hist(
                chosen, bins, weights=share, histtype="step", lw=1.5, color=_COLOURS[label], label=label
            )
    for axis in axes[:, 0]:
        axis.set_ylabel("images (%)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper")
    figure.suptitle(f"{len(facts):,} images, each label by itself (the outer 1 % not shown)")
    return figure


def _bins(known: np.ndarray) -> np.ndarray:
    """Return about 30 bins without the outer 1 %; of numbers that are nearly whole each holds equally many, or some look empty."""
    low, high = np.quantile(known, [0.005, 0.995])
    if (np.abs(known - known.round()) < 0.1).mean() < 0.9:
        return np.linspace(low, max(high, low + 1e-6), 31)
    step = max(1, round((high - low) / 30))
    return np.arange(np.floor(low) - 0.5, np.ceil(high) + step + 0.5, step)


@_styled
def leak_bars(probe: LeakProbe) -> Figure:
    """Show how well each fact alone, and all together, tell real from fake."""
    figure, axis = plt.subplots(figsize=(7, 4.2))
    table = probe.facts.iloc[::-1]
    axis.barh(table["fact"].str.replace("_", " "), table["auc"] - 0.5, left=0.5, color=GREY)
    error = [[max(0, probe.auc - probe.low)], [max(0, probe.high - probe.auc)]]
    axis.barh(["all, cross-validated"], [probe.auc - 0.5], left=0.5, color=JUDGED, xerr=error, capsize=3)
    axis.axvline(0.5, color="black", lw=0.8)
    axis.axvline(
        LEAK_FROM, color="black", lw=0.8, ls=":", label=f"a leak where the interval lies above {LEAK_FROM}"
    )
    axis.set(
        xlabel="AUC real/fake (0.5: chance)", xlim=(min(0.45, probe.low - 0.02), max(0.75, probe.high + 0.03))
    )
    axis.set_title("Real from fake by the file and its mean colour alone")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure


def _bars(axis: plt.Axes, counts: pd.DataFrame, colours: list[str]) -> None:
    places, width = np.arange(len(counts)), 0.8 / counts.shape[1]
    for i, (name, colour) in enumerate(zip(counts.columns, colours, strict=False)):
        bars = axis.bar(
            places + (i - (counts.shape[1] - 1) / 2) * width, counts[name], width, color=colour, label=name
        )
        axis.bar_label(bars, padding=1)
    axis.set_xticks(places, [str(name).replace("_", "\n") for name in counts.index])
    axis.margins(y=0.12)
    axis.legend(ncols=counts.shape[1], loc="upper center", bbox_to_anchor=(0.5, -0.22))
