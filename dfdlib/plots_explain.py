"""Figures of explanations."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from .datasets import ImageDataset
from .errors import DfdError
from .explain import overlay
from .imageio import fit_image, read_image
from .manifest import root_of
from .plots import FAKE, GREY, REAL, _bare, _styled


@_styled
def heatmap_grid(
    dataset: ImageDataset, heatmaps: np.ndarray, predictions: pd.DataFrame, target: str
) -> Figure:
    """Show images above their heatmaps, with the verdict; the outline is the manipulated region, where known.

    Args:
        dataset: N images.
        heatmaps: float [N, S, S], see `explain.heatmaps`.
        predictions: Predictions of the same images, in the same order.
        target: What the maps speak for, for the caption.

    Raises:
        DfdError: No image.
    """
    if not len(dataset):
        raise DfdError("there is no image to explain.")
    n, root = len(dataset), root_of(dataset.manifest)
    figure, axes = plt.subplots(2, n, figsize=(1.45 * n + 0.6, 3.5), squeeze=False)
    images = dataset.__getitems__(range(n))["image"].permute(0, 2, 3, 1).numpy()
    masks = dataset.manifest["mask"] if "mask" in dataset.manifest else [None] * n
    for i, (row, mask) in enumerate(zip(predictions.itertuples(), masks, strict=True)):
        image = np.ascontiguousarray(images[i])
        axes[0, i].imshow(image)
        axes[1, i].imshow(overlay(image, heatmaps[i]))
        if isinstance(mask, str):
            region = fit_image(read_image(root / mask), dataset.size)[..., 0] > 127
            if not region.all():
                for axis in axes[:, i]:
                    axis.contour(region, [0.5], colors="white", linewidths=1)
        label = row.label if isinstance(row.label, str) else "unlabelled"
        axes[0, i].set_title(label, color={"real": REAL, "fake": FAKE}.get(label, GREY), fontsize=9)
        axes[1, i].set_title(
            f"{row.predicted}, p(fake) {row.p_fake:.2f}",
            color={"real": REAL, "fake": FAKE}[row.predicted],
            fontsize=7,
        )
        _bare(axes[0, i])
        _bare(axes[1, i])
    bar = figure.colorbar(ScalarMappable(cmap="jet"), ax=axes, fraction=0.02, pad=0.01, ticks=[0, 1])
    bar.set_label(f"speaks for {target}", fontsize=8)
    return figure
