"""Images of a manifest as tensors: decoded once, kept in a memory-mapped cache, served in batches."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm.auto import tqdm

from .demo import demo_manifest
from .errors import DfdError
from .files import atomic_path, write_json
from .imageio import ImageError
from .manifest import open_data, root_of, subsample
from .paths import cache_root
from .pictures import read_picture
from .runs import RunConfig

CACHE_LIMIT_BYTES = 8 * 2**30
"""Decoded data sets above this size are read from their files each epoch; the cache is kept below it."""

_CACHE_VERSION = 4
_CHUNK_BYTES = 64 * 2**20


def load_manifest(run: RunConfig) -> pd.DataFrame:
    """Return the manifest of a run: of its `data_dir`, or of the demo set where that is empty."""
    if run.data_dir:
        return open_data(run.data_dir, run.seed, run.max_images)
    return subsample(demo_manifest(workers=run.workers), run.max_images, run.seed)


class Batch(TypedDict):
    """What the loaders yield."""

    image: Tensor
    """uint8 [B, 3, H, W], channels-last in memory."""
    fake: Tensor
    """float32 [B]: 1 fake, 0 real, NaN not known."""
    category: Tensor
    """int64 [B], position among the detector's categories; -1 not known."""
    index: Tensor
    """int64 [B], position in the data set."""


class Reader(Protocol):
    """Makes pixels of a file."""

    kind: str
    """What it reads, `image` or `clip`."""
    shape: tuple[int, ...]
    """Shape of what it makes, [..., S, S, 3]."""

    def __call__(self, path: Path) -> np.ndarray:
        """Return uint8 pixels of `shape`. Raises `ImageError`."""


@dataclass(frozen=True)
class _ImageReader:
    size: int
    kind: str = "image"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size, self.size, 3

    def __call__(self, path: Path) -> np.ndarray:
        return read_picture(path).fitted(self.size)


class ImageDataset(Dataset):
    """The readable images of a manifest, fitted to one size."""

    def __init__(
        self, manifest: pd.DataFrame, size: int, categories: Sequence[str] = (), workers: int = 0
    ) -> None:
        """Decode every image once, into a cache on disk that later runs use again.

        Args:
            manifest: See `manifest`; its index is replaced by 0…n-1.
            size: Side of the square images in pixels, see `resizing.fit_image`.
            categories: Names whose positions become the `category` targets.
            workers: Threads that decode; 0 for one a core.

        Raises:
            DfdError: No image at all can be read. Single unreadable images are left out and listed in
                `unreadable` (columns `path`, `error`).
        """
        self._load(manifest, _ImageReader(size), categories, workers)

    def _load(self, manifest: pd.DataFrame, reader: Reader, categories: Sequence[str], workers: int) -> None:
        """Decode every row of the manifest once, whatever the reader makes of it."""
        self._reader, self.size, self.categories = reader, reader.shape[-2], tuple(categories)
        pixels, errors = _decode(manifest, reader, workers or os.cpu_count() or 1)
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
        """Return the images that a boolean mask [n] chooses; the cache is shared.

        Raises:
            ValueError: Not a mask of as many booleans; positions would be taken for one unnoticed.
        """
        mask = np.asarray(chosen)
        if mask.dtype != bool or mask.shape != (len(self),):
            raise ValueError(f"a mask of {len(self)} booleans chooses images, not {mask.dtype} {mask.shape}.")
        positions = np.flatnonzero(mask)
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part.manifest = self.manifest.iloc[positions].reset_index(drop=True)
        part._rows = self._rows[positions]
        part._set_targets()
        return part

    def head(self, n: int) -> ImageDataset:
        """Return the first `n` images, or all where there are fewer."""
        return self.subset(np.arange(len(self)) < n)

    def pixels(self) -> Tensor:
        """Return all images, uint8 [N, 3, S, S] (of clips [N, T, 3, S, S])."""
        return self.__getitems__(range(len(self)))["image"]

    def split(self, name: str) -> ImageDataset:
        """Return the images of one split, `train`, `val` or `test`; it may be empty."""
        return self.subset((self.manifest["split"] == name).to_numpy())

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.manifest)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch at once, which is many times faster than image by image."""
        positions = np.asarray(indices, np.int64)
        if self._pixels is not None:
            images = self._pixels[self._rows[positions]]
        else:
            root = root_of(self.manifest)
            names = self.manifest["path"].iloc[positions]
            images = np.stack([self._reader(root / name) for name in names])
        return Batch(
            image=torch.from_numpy(images).movedim(-1, -3),
            fake=self.fake[positions],
            category=self.category[positions],
            index=torch.from_numpy(positions),
        )

    def __getitem__(self, index: int) -> Batch:
        """Return a batch of one."""
        return self.__getitems__([index])


class GroupShuffle(Sampler):
    """A new order each epoch in which the images of a group stay together.

    A fake then meets its own original in one batch, which takes the content out of the comparison
    (Shiohara & Yamasaki 2022, arXiv:2204.08376, train on such pairs). Without groups it is a plain shuffle.
    The order depends on the seed and the epoch alone.
    """

    def __init__(self, dataset: ImageDataset, seed: int, balance: str = "none", batch_size: int = 1) -> None:
        """Order a data set.

        Args:
            dataset: The images.
            seed: Draws the order.
            balance: `oversample`, `downsample` or anything else for neither.
            batch_size: The epoch ends with a whole batch, if it has one at all.
        """
        self._codes = pd.factorize(dataset.manifest["group"])[0]
        self._classes = [np.flatnonzero(dataset.fake.numpy() == label) for label in (0, 1)]
        self._seed, self.epoch = seed, 0
        sizes = [len(members) for members in self._classes]
        self._size = {"oversample": max(sizes), "downsample": min(sizes)}.get(balance)
        drawn = len(self._codes) if self._size is None else 2 * self._size
        self._length = drawn - drawn % batch_size or drawn

    def __len__(self) -> int:
        """Return the number of images an epoch."""
        return self._length

    def __iter__(self) -> Iterator[int]:
        """Yield positions in the data set."""
        rng = np.random.default_rng([self._seed, self.epoch])
        order = rng.permutation(self._codes.max() + 1)
        chosen = np.arange(len(self._codes))
        if self._size is not None:
            chosen = np.concatenate([self._draw(members, rng) for members in self._classes])
        places = np.lexsort((rng.random(len(chosen)), order[self._codes[chosen]]))[: self._length]
        return iter(chosen[places].tolist())

    def _draw(self, members: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw as many as wanted: each once before any is repeated."""
        rounds = -(-self._size // len(members))
        return np.concatenate([rng.permutation(members) for _ in range(rounds)])[: self._size]


def make_loader(
    dataset: ImageDataset, batch_size: int, sampler: Sampler | None = None, workers: int = 0
) -> DataLoader:
    """Return a loader of `Batch`es.

    Given a sampler (training), a last batch that is not full is left out: batch normalisation cannot learn
    from one image. Worker processes pay only where images are decoded each epoch; from the cache they cost.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=sampler is not None and len(sampler) >= batch_size,
        num_workers=(workers or os.cpu_count() or 1) if dataset._pixels is None else 0,
        collate_fn=_as_it_is,
        pin_memory=torch.cuda.is_available(),
    )


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _decode(
    manifest: pd.DataFrame, reader: Reader, threads: int
) -> tuple[np.ndarray | None, list[tuple[str, str]]]:
    """Return the pixels, uint8 [N, *reader.shape], and (path, error) of each file that cannot be read.

    The pixels are None where they would not fit the cache; the files are then only checked.
    """
    shape = (len(manifest), *reader.shape)
    fits = int(np.prod(shape)) <= CACHE_LIMIT_BYTES
    stem = cache_root() / f"images-{_cache_key(manifest, reader)}"
    notes = stem.with_suffix(".json")
    if not (notes.exists() and (not fits or stem.with_suffix(".npy").exists())):
        _make_room(int(np.prod(shape)) if fits else 0)
        write_json(notes, _fill(manifest, reader, stem.with_suffix(".npy") if fits else None, threads))
    errors = [(path, error) for path, error in json.loads(notes.read_text())]
    if not fits:
        return None, errors
    with suppress(OSError):  # on a read-only disk it stays as old as it is
        os.utime(stem.with_suffix(".npy"))
    return np.load(stem.with_suffix(".npy"), mmap_mode="r"), errors


def _fill(manifest: pd.DataFrame, reader: Reader, file: Path | None, threads: int) -> list[tuple[str, str]]:
    """Decode every image, into `file` where there is one, and return the errors."""
    root, errors, n = root_of(manifest), [], len(manifest)
    chunk = max(1, _CHUNK_BYTES // int(np.prod(reader.shape)))

    def decode(path: str) -> np.ndarray | ImageError:
        try:
            return reader(root / path)
        except ImageError as error:
            return error

    def decode_all(pixels: np.ndarray | None) -> None:
        progress = tqdm(desc=f"decoding {reader.kind}s", total=n, unit=reader.kind, disable=n < 500)
        with progress, ThreadPoolExecutor(threads) as pool:
            for start in range(0, n, chunk):  # in chunks, so that memory stays bounded
                paths = manifest["path"].iloc[start : start + chunk]
                for row, (path, image) in enumerate(zip(paths, pool.map(decode, paths), strict=True), start):
                    if isinstance(image, ImageError):
                        errors.append((path, str(image)))
                    elif pixels is not None:
                        pixels[row] = image
                progress.update(len(paths))

    if file is None:
        decode_all(None)
        return errors
    with atomic_path(file) as temporary:
        pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, (n, *reader.shape))
        decode_all(pixels)
        pixels.flush()
    return errors


def _make_room(needed: int) -> None:
    """Remove the caches that were not used for longest until `needed` bytes fit the limit."""
    files = sorted(cache_root().glob("images-*.npy"), key=lambda file: file.stat().st_mtime)
    total = needed + sum(file.stat().st_size for file in files)
    for file in files:
        if total <= CACHE_LIMIT_BYTES:
            break
        total -= file.stat().st_size
        with suppress(OSError):  # where it cannot be written, writing says so
            file.unlink()


def _cache_key(manifest: pd.DataFrame, reader: Reader) -> str:
    """Hash of what the pixels depend on: the files, their sizes and times, and what is made of them."""
    root = root_of(manifest)
    digest = hashlib.blake2b(f"{_CACHE_VERSION} {reader} {root.resolve()}".encode(), digest_size=12)
    for path in manifest["path"]:
        try:
            stat = (root / path).stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode(errors="surrogatepass"))
        except (OSError, ValueError):  # ValueError: no name that a file can have
            digest.update(f"{path}\0missing\0".encode(errors="surrogatepass"))
    return digest.hexdigest()
