"""Figures of explanations."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from dfdlib.core.errors import DfdError
from dfdlib.data.dataset import ImageDataset
from dfdlib.explain.faithfulness import BASELINES
from dfdlib.images.picture import overlay
from dfdlib.plots.style import FAKE, GREY, JUDGED, REAL, SERIES, _bare, _shown, _styled

_MEASURES = {
    "pointing": "hottest point in the region",
    "iou": "IoU with the region",
    "inside": "share of heat in the region",
}


@_styled
def heatmap_grid(
    dataset: ImageDataset, heatmaps: np.ndarray, predictions: pd.DataFrame, target: str
) -> Figure:
    """Show images above their heatmaps, with the verdict; the outline is the manipulated region, where known.

    Args:
        dataset: N images.
        heatmaps: float [N, S, S], see `heatmaps.explain_images`.
        predictions: Predictions of the same images, in the same order.
        target: What the maps speak for, for the caption.

    Raises:
        DfdError: No image.
    """
    if not len(dataset):
        raise DfdError("there is no image to explain.")
    n = len(dataset)
    figure, axes = plt.subplots(2, n, figsize=(1.4 * n + 0.7, 3.8), squeeze=False)
    for i, (row, image, mask) in enumerate(
        zip(predictions.itertuples(), _pixels(dataset), dataset.masks(), strict=True)
    ):
        _show(axes[0, i], image, mask)
        _show(axes[1, i], overlay(image, heatmaps[i]), mask)
        _name(axes[0, i], row.label)
        by = f"{_shown(row.model, 16)}\n" if "model" in predictions else ""
        axes[1, i].set_title(
            f"{by}{row.predicted}, p(fake) {row.p_fake:.2f}",
            color={"real": REAL, "fake": FAKE}[row.predicted],
            fontsize=9,
        )
    _heat_bar(figure, axes, f"speaks for {target}")
    return figure


@_styled
def map_rows(dataset: ImageDataset, maps: Mapping[str, np.ndarray]) -> Figure:
    """Show images above a row of heatmaps for each method, or for each class.

    Args:
        dataset: N images.
        maps: float [N, S, S] by the name of their row.

    Raises:
        DfdError: No image.
    """
    if not len(dataset):
        raise DfdError("there is no image to explain.")
    n = len(dataset)
    figure, axes = plt.subplots(
        len(maps) + 1, n, figsize=(1.3 * n + 1.4, 1.32 * (len(maps) + 1)), squeeze=False
    )
    pixels, masks = _pixels(dataset), dataset.masks()
    for i in range(n):
        _show(axes[0, i], pixels[i], masks[i])
        _name(axes[0, i], dataset.manifest["label"].iloc[i])
        for axis, heat in zip(axes[1:, i], maps.values(), strict=True):
            _show(axis, overlay(pixels[i], heat[i]), masks[i])
    for axis, name in zip(axes[:, 0], ("image", *maps), strict=True):
        axis.set_ylabel(_shown(name), rotation=0, ha="right", va="center")
    _heat_bar(figure, axes, "evidence")
    return figure


@_styled
def localisation_bars(table: pd.DataFrame) -> Figure:
    """Show how well heatmaps find the manipulated region, beside maps that know nothing of the image.

    Args:
        table: See `faithfulness.localisation_table`.
    """
    figure, axes = plt.subplots(1, 3, figsize=(10, 0.34 * len(table) + 1.6), sharey=True)
    places = np.arange(len(table))
    colours = [GREY if method in BASELINES else JUDGED for method in table["method"]]
    for axis, (measure, title) in zip(axes, _MEASURES.items(), strict=True):
        values = table[measure]
        ends = np.abs(np.stack([values - table[f"{measure}_low"], table[f"{measure}_high"] - values]))
        axis.barh(places, values, color=colours, height=0.65)
        axis.errorbar(values, places, xerr=ends, fmt="none", ecolor="black", elinewidth=1, capsize=2)
        axis.set(xlim=(0, max(0.05, 1.1 * table[f"{measure}_high"].max())), title=title)
    axes[0].set_yticks(places, table["method"])
    axes[0].invert_yaxis()
    figure.supxlabel(f"n = {table['n'].iloc[0]} fakes with a known region; bars: 95 % interval")
    return figure


@_styled
def removal_curves(table: pd.DataFrame, reference: str = "reference") -> Figure:
    """Show how p(fake) changes as the hottest pixels are taken away, or are put into the reference.

    Args:
        table: See `faithfulness.deletion_insertion`.
        reference: What takes the place of the pixels, for the caption.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    methods = list(dict.fromkeys(table["method"]))
    for axis, curve in zip(axes, ("deletion", "insertion"), strict=True):
        for i, method in enumerate(methods):
            part = table[(table["method"] == method) & (table["curve"] == curve)]
            look = {"color": GREY if method in BASELINES else SERIES[i % len(SERIES)]}
            area = "{auc:.2f} [{auc_low:.2f}, {auc_high:.2f}]".format(**part.iloc[0])
            dashes = "--" if method in BASELINES else "-"
            axis.plot(part["fraction"], part["p_fake"], ls=dashes, label=f"{method}: area {area}", **look)
            axis.fill_between(
                part["fraction"], part["p_fake_low"], part["p_fake_high"], alpha=0.15, lw=0, **look
            )
        better = "lower is better" if curve == "deletion" else "higher is better"
        axis.set(xlabel="share of the pixels, hottest first", title=f"{curve} ({better})", xlim=(0, 1))
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))
    axes[0].set(ylabel=f"mean p(fake) of n = {table['n'].iloc[0]} fakes", ylim=(0, 1.01))
    figure.supxlabel(f"Pixels change places with those of the {reference}; bands: 95 % intervals over groups")
    return figure


@_styled
def randomisation_curve(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Show how alike heatmaps stay while the weights are replaced by random ones from the heads down.

    Args:
        tables: By method, see `faithfulness.randomised_weights`; all of one detector.
    """
    steps = next(iter(tables.values()))["randomised"]
    figure, axis = plt.subplots(figsize=(8, 4))
    for i, (method, table) in enumerate(tables.items()):
        axis.plot(
            range(len(steps)),
            table["similarity"],
            marker="o",
            ms=4,
            color=SERIES[i % len(SERIES)],
            label=method,
        )
    axis.axhline(0, color="black", lw=0.8, ls=":")
    axis.set_xticks(range(len(steps)), steps, rotation=20, ha="right")
    axis.set(ylabel="rank correlation with\nthe trained network's map", ylim=(-0.6, 1.05))
    axis.set_xlabel("weights replaced by random ones")
    axis.legend()
    return figure


def _pixels(dataset: ImageDataset) -> np.ndarray:
    """Return the images, uint8 [N, S, S, 3]."""
    return np.ascontiguousarray(dataset.pixels().permute(0, 2, 3, 1).numpy())


def _show(axis: Axes, image: np.ndarray, mask: np.ndarray) -> None:
    """Show an image and the outline of its manipulated region, where one is known."""
    axis.imshow(image)
    if mask.any():
        axis.contour(mask, [0.5], colors="white", linewidths=1)
    _bare(axis)


def _name(axis: Axes, label: str | None) -> None:
    """Title an image with its label, in the label's colour."""
    shown = label if isinstance(label, str) else "unlabelled"
    axis.set_title(shown, color={"real": REAL, "fake": FAKE}.get(shown, GREY), fontsize=9)


def _heat_bar(figure: Figure, axes: np.ndarray, label: str) -> None:
    bar = figure.colorbar(ScalarMappable(cmap="jet"), ax=axes, fraction=0.02, pad=0.01, ticks=[0, 1])
    bar.set_ticklabels(["least", "most"])
    bar.set_label(f"{label}\n(each map to its own maximum)")
