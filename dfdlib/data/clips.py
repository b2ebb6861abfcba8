"""Clips of videos as tensors: frames spread over each video, cropped to the face on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.core.faces import Faces
from dfdlib.data.dataset import Fit, ImageDataset, whole_fit
from dfdlib.images.picture import fit_image
from dfdlib.images.video import read_subject


class ClipDataset(ImageDataset):
    """The readable videos of a manifest, each as one clip; batches hold images [B, T, 3, S, S]."""

    def __init__(
        self,
        manifest: pd.DataFrame,
        fit: Fit,
        n_frames: int,
        categories: Sequence[str] = (),
        workers: int = 0,
    ) -> None:
        """Decode a clip of every video once, into the cache of decoded images.

        Args:
            manifest: One row per video, see `scan.scan_videos`.
            fit: See `ImageDataset`; the main face is followed, see `faces.follow_face`.
            n_frames: Frames per clip, see `video.read_frames`.
            categories: See `ImageDataset`.
            workers: See `ImageDataset`.

        Raises:
            DfdError: No video at all can be read.
        """
        self.n_frames = n_frames
        self._load(manifest, _ClipReader(*whole_fit(fit), n_frames), categories, workers)

    def frames(self) -> ImageDataset:
        """Return the single frames of the clips as images, with their `video` and `frame` in the manifest.

        Raises:
            DfdError: The clips do not fit the cache.
        """
        if not self.is_cached:
            raise DfdError("the clips do not fit the cache; take fewer or shorter ones for single frames.")
        n, t = len(self.manifest), self.n_frames
        manifest = self.manifest.loc[self.manifest.index.repeat(t)].reset_index(drop=True)
        manifest["video"], manifest["frame"] = manifest["path"], np.tile(np.arange(t), n)
        manifest["path"] = [
            f"{video}#{frame}" for video, frame in zip(manifest["video"], manifest["frame"], strict=True)
        ]
        pixels = self._pixels.reshape(-1, *self._pixels.shape[2:])
        rows = (self._rows[:, None] * t + np.arange(t)).reshape(-1)
        return self._with(manifest=manifest, _pixels=pixels, _rows=rows)


@dataclass(frozen=True)
class _ClipReader:
    size: int
    interpolation: str
    part: Faces | None
    n_frames: int
    kind: str = "clip"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.n_frames, self.size, self.size, 3

    def __call__(self, path: Path) -> np.ndarray:
        frames = read_subject(path, self.n_frames, self.part).images
        return np.stack([fit_image(frame, self.size, self.interpolation) for frame in frames])

    check = __call__
