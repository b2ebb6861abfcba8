"""Figures of clips: what they show, and how sure a detector was of each frame."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .clips import ClipDataset
from .errors import DfdError
from .plots import FAKE, GREY, REAL, _styled


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
    batch = clips.__getitems__(shown)["image"].permute(0, 1, 3, 4, 2).numpy()
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


@_styled
def timeline(frames: pd.DataFrame, n_videos: int = 6) -> Figure:
    """Show the probability of fake frame by frame, a line a video.

    Args:
        frames: Predictions of frames, with `video` and `frame`, see `clips.ClipDataset.frames`.
        n_videos: Videos to show: half real and half fake where labels are known.

    Raises:
        DfdError: No frame.
    """
    if frames.empty:
        raise DfdError("there is no frame to show.")
    first = frames.drop_duplicates("video")
    labels = first["label"].fillna("unlabelled")
    chosen = first[labels.groupby(labels).cumcount() < max(1, n_videos // labels.nunique())][:n_videos]
    figure, axis = plt.subplots(figsize=(7, 3.2))
    for video, label in zip(chosen["video"], chosen["label"], strict=True):
        part = frames[frames["video"] == video].sort_values("frame")
        colour = {"real": REAL, "fake": FAKE}.get(label, GREY)
        axis.plot(part["frame"], part["p_fake"], color=colour, lw=1.2, marker="o", ms=3)
    for label, colour in (("real", REAL), ("fake", FAKE)):
        if (chosen["label"] == label).any():
            axis.plot([], [], color=colour, label=f"{label} videos")
    threshold = frames.attrs.get("threshold", 0.5)
    axis.axhline(threshold, color="black", lw=0.8, ls=":", label=f"threshold {threshold:.2f}")
    axis.set(xlabel="frame", ylabel="p(fake)", ylim=(-0.02, 1.02), title="Frame by frame")
    axis.legend()
    return figure
