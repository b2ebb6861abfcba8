"""Decoded images kept on disk as one memory-mapped array, so that each file is decoded once."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from dfdlib.core.errors import ImageError
from dfdlib.core.files import atomic_path, write_json
from dfdlib.core.paths import cache_root
from dfdlib.data.manifest import files_of

CACHE_LIMIT_BYTES = 8 * 2**30
"""Decoded data sets above this size are read from their files each epoch; the cache is kept below it."""
_CACHE_VERSION = 4
_CHUNK_BYTES = 64 * 2**20


class Reader(Protocol):
    """Makes pixels of a file."""

    kind: str
    """What it reads, `image` or `clip`."""
    shape: tuple[int, ...]
    """Shape of what it makes, [..., S, S, 3]."""

    def __call__(self, path: Path) -> np.ndarray:
        """Return uint8 pixels of `shape`. Raises `ImageError`."""


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
    files, errors, n = files_of(manifest), [], len(manifest)
    chunk = max(1, _CHUNK_BYTES // int(np.prod(reader.shape)))

    def decode(file: Path) -> np.ndarray | ImageError:
        try:
            return reader(file)
        except ImageError as error:
            return error

    def decode_all(pixels: np.ndarray | None) -> None:
        progress = tqdm(desc=f"decoding {reader.kind}s", total=n, unit=reader.kind, disable=n < 500)
        with progress, ThreadPoolExecutor(threads) as pool:
            for start in range(0, n, chunk):  # in chunks, so that memory stays bounded
                paths = manifest["path"].iloc[start : start + chunk]
                images = pool.map(decode, files[start : start + chunk])
                for row, (path, image) in enumerate(zip(paths, images, strict=True), start):
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
    digest = hashlib.blake2b(f"{_CACHE_VERSION} {reader}".encode(), digest_size=12)
    files = files_of(manifest)
    homes = {root: Path(root).resolve() for root in manifest["root"].unique()}
    for file, root, path in zip(files, manifest["root"], manifest["path"], strict=True):
        try:
            stat = file.stat()
            facts = f"{stat.st_size}\0{stat.st_mtime_ns}"
        except (OSError, ValueError):  # ValueError: no name that a file can have
            facts = "missing"
        digest.update(f"{homes[root]}\0{path}\0{facts}\0".encode(errors="surrogatepass"))
    return digest.hexdigest()
