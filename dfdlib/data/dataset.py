"""Images of a manifest as tensors: decoded once, served in batches."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dfdlib.core.errors import DfdError
from dfdlib.core.native import Native, Part
from dfdlib.data.cache import Reader, read_pixels, read_whole
from dfdlib.data.manifest import files_of
from dfdlib.images.decode import read_image
from dfdlib.images.faces import Square, cut_square
from dfdlib.images.picture import fit_image, read_picture, shrink_to_tiles
from dfdlib.images.tiles import tile_squares

Fit = int | tuple[int, str] | tuple[int, str, Part]
"""How images are fitted, see `whole_fit`."""


class Batch(TypedDict):
    """What the loaders yield."""

    image: Tensor
    """uint8 [B, 3, H, W], channels-last in memory; of `judged` images all views, one image after the other."""
    fake: Tensor
    """float32 [B]: 1 fake, 0 real, NaN unknown."""
    category: Tensor
    """int64 [B], position among the detector's categories; -1 unknown."""
    index: Tensor
    """int64 [B], position in the data set."""


@dataclass(frozen=True)
class _ImageReader:
    size: int
    interpolation: str
    part: Part
    kind: str = "image"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size, self.size, 3

    def __call__(self, path: Path) -> np.ndarray:
        picture = read_picture(path)
        if isinstance(self.part, Native):
            return shrink_to_tiles(picture.pixels, self.size, self.interpolation, self.part)
        return picture.fitted(self.size, self.interpolation, self.part)

    def check(self, path: Path) -> None:
        read_picture(path).check(self.size, self.part)


class ImageDataset(Dataset):
    """The readable images of a manifest, fitted to one size."""

    def __init__(
        self,
        manifest: pd.DataFrame,
        fit: Fit,
        categories: Sequence[str] = (),
        workers: int = 0,
    ) -> None:
        """Decode every image once, into a cache on disk that later runs use too.

        Args:
            manifest: See `manifest`; its index is replaced by 0…n-1.
            fit: Side of the square images in pixels, or that, the interpolation and the part, as `Detector.fit`;
                see `picture.Picture.fitted`: there is one row per image, of its largest face, or of its middle where
                squares are cut from native pixels; see `judged` and `batch`.
            categories: Names whose positions become the `category` targets.
            workers: Threads that decode; 0 for one per core.

        Raises:
            DfdError: None of the images can be read. Where only some cannot, they are left out and listed in
                `unreadable` (columns `path`, `error`).
        """
        self._load(manifest, _ImageReader(*whole_fit(fit)), categories, workers)

    def _load(self, manifest: pd.DataFrame, reader: Reader, categories: Sequence[str], workers: int) -> None:
        """Decode every row of the manifest by the reader."""
        self._reader, self.size, self.categories = reader, reader.shape[-2], tuple(categories)
        self.fit = self.size, reader.interpolation, reader.part
        self._native = Native() if isinstance(reader.part, Native) else None
        if self._native is None:
            pixels, errors = read_pixels(manifest, reader, workers)
        else:
            pixels, errors, self._shapes = read_whole(manifest, reader, workers)
        self.unreadable = pd.DataFrame(errors, columns=["path", "error"])
        readable = ~manifest["path"].isin(self.unreadable["path"]).to_numpy()
        if not readable.any():
            raise DfdError(
                f"none of the {len(manifest)} {reader.kind}s can be read, e.g. {errors[0][1] if errors else ''}"
            )
        self.manifest = manifest[readable].reset_index(drop=True)
        self._pixels, self._rows = pixels, np.flatnonzero(readable)
        self._set_targets()

    def _set_targets(self) -> None:
        label = self.manifest["label"].map({"real": 0.0, "fake": 1.0})
        places = {name: place for place, name in enumerate(self.categories)}
        codes = [places.get(name, -1) for name in self.manifest["category"]]
        self.fake = torch.from_numpy(label.to_numpy(np.float32, na_value=np.nan).copy())
        self.category = torch.tensor(codes, dtype=torch.int64)

    def subset(self, chosen: pd.Series | np.ndarray) -> ImageDataset:
        """Return the images that a boolean mask [N] chooses; the decoded pixels are shared.

        Raises:
            ValueError: Not a mask of N booleans; positions would otherwise be taken for one unnoticed.
        """
        mask = np.asarray(chosen)
        if mask.dtype != bool or mask.shape != (len(self),):
            raise ValueError(f"a mask of {len(self)} booleans chooses images, not {mask.dtype} {mask.shape}.")
        return self._with(manifest=self.manifest[mask].reset_index(drop=True), _rows=self._rows[mask])

    def _with(self, **changes: Any) -> ImageDataset:
        """Return a copy with other rows; the decoded pixels are shared."""
        changed = copy.copy(self)
        vars(changed).update(changes)
        changed._set_targets()
        return changed

    def judged(self) -> ImageDataset:
        """Return the images as they are judged: where a detector looks at tiles, batches hold all of each image."""
        return self._with(_native=self._native and self.fit[2])

    @property
    def n_views(self) -> np.ndarray:
        """How many rows of a batch each image takes, int [N]: 1, but for tiles of `judged` images."""
        if self._native is None:
            return np.ones(len(self), int)
        shapes = self._shapes[self._rows, :2]
        return np.array([len(tile_squares(*shape, self.size, self._native)) for shape in shapes.tolist()])

    def head(self, n: int) -> ImageDataset:
        """Return the first `n` images, or all where there are fewer."""
        return self.subset(np.arange(len(self)) < n)

    def pixels(self) -> Tensor:
        """Return all images, uint8 [N, 3, S, S] (of clips [N, T, 3, S, S])."""
        return self.batch(range(len(self)))["image"]

    def split(self, name: str) -> ImageDataset:
        """Return the images of one split, `train`, `val` or `test`; it may be empty."""
        return self.subset((self.manifest["split"] == name).to_numpy())

    @property
    def is_cached(self) -> bool:
        """Whether the decoded images are on disk; otherwise each batch decodes its files."""
        return self._pixels is not None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.manifest)

    def masks(self) -> np.ndarray:
        """Return the manipulated regions of the images, bool [N, S, S]; all False where none is known.

        An image that was manipulated as a whole counts as unknown too: no place in it would be wrong.
        """
        masks = np.zeros((len(self), self.size, self.size), bool)
        files = files_of(self.manifest, "mask") if "mask" in self.manifest else [None] * len(self)
        for mask, file, image in zip(masks, files, files_of(self.manifest), strict=True):
            if file is not None:
                if self._native:
                    whole = self._reader(file)
                    seen = cut_square(whole, *tile_squares(*whole.shape[:2], self.size, Native()))
                else:
                    face = cut_square(read_image(file), read_picture(image).squares(self.fit[2])[0])
                    seen = fit_image(face, self.size)
                region = seen[..., 0] > 127
                mask[:] = region & (not region.all())
        return masks

    def batch(self, indices: Sequence[int], draw: tuple[int, int] | None = None) -> Batch:
        """Return the images at several positions together, many times faster than one by one.

        Args:
            indices: The positions.
            draw: Seed and epoch, by which a square is drawn from each image where a detector looks at native pixels:
                anywhere, or of a fake whose manipulated region is known where it holds some of that. Squares of
                judging when not given.
        """
        positions = np.asarray(indices, np.int64)
        if self.is_cached:
            images = self._pixels[self._rows[positions]]
        else:
            images = [self._reader(file) for file in files_of(self.manifest.iloc[positions])]
        if self._native:
            squares = (
                tile_squares(*image.shape[:2], self.size, self._native)
                if draw is None
                else [self._draw(position, image.shape, np.random.default_rng([*draw, position, 2]))]
                for position, image in zip(positions.tolist(), images, strict=True)
            )
            pairs = zip(images, squares, strict=True)
            images = [cut_square(image, square) for image, of_image in pairs for square in of_image]
        images = np.stack(images) if isinstance(images, list) else images
        return Batch(
            image=torch.from_numpy(images).movedim(-1, -3),
            fake=self.fake[positions],
            category=self.category[positions],
            index=torch.from_numpy(positions),
        )

    def _draw(self, position: int, shape: tuple[int, ...], rng: np.random.Generator) -> Square:
        """Draw a square from an image; see `batch`."""
        excess = np.array(shape[:2]) - self.size
        spare = np.maximum(excess, 0)
        start = rng.integers(spare + 1)
        known = spare.any() and "mask" in self.manifest
        file = files_of(self.manifest.iloc[[position]], "mask")[0] if known else None
        if file is not None:
            mask = read_image(file)[..., 0] > 127
            places = np.flatnonzero(mask)
            if 0 < len(places) < mask.size:  # one of them comes to lie in the middle half of the square
                place = np.array(np.unravel_index(rng.choice(places), mask.shape)) * shape[:2] // mask.shape
                start = np.clip(place - rng.integers(self.size // 4, 3 * self.size // 4, 2), 0, spare)
        start += np.minimum(excess, 0) // 2  # a smaller image lies in the middle
        return int(start[1]), int(start[0]), self.size

    def __getitem__(self, index: int) -> Batch:
        """Return a batch of one."""
        return self.batch([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch; PyTorch's loaders call this."""
        return self.batch(indices)


def whole_fit(fit: Fit) -> tuple[int, str, Part]:
    """Return how images are fitted, as `Detector.fit` says it: a side alone means bilinear, and whole images."""
    if isinstance(fit, int):
        return fit, "bilinear", None
    return fit if len(fit) == 3 else (*fit, None)


def typical_side(manifest: pd.DataFrame, n: int = 64) -> int:
    """Return the median of the shorter sides of `n` images spread over a manifest, in pixels.

    Raises:
        DfdError: None of them can be read.
    """
    sides, files = [], files_of(manifest.iloc[np.unique(np.linspace(0, len(manifest) - 1, n).astype(int))])
    for file in files:
        with suppress(OSError, ValueError), Image.open(file) as image:
            sides.append(min(image.size))
    if not sides:
        raise DfdError(
            f"none of {len(files)} images of {files[0].parent} can be read; check the data folder."
        )
    return int(np.median(sides))
