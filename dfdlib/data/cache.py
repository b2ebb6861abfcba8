"""Decoded images, kept on disk as one memory-mapped array so that each file is decoded once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from dfdlib.core.errors import ImageError
from dfdlib.core.files import atomic_path, write_json
from dfdlib.core.parallel import read_ahead, worker_count
from dfdlib.core.paths import cache_root
from dfdlib.core.progress import Progress
from dfdlib.data.manifest import files_of

CACHE_LIMIT_BYTES = 8 * 2**30
"""Data sets that are larger when decoded are read from their files each epoch; the cache is kept below it."""
_CACHE_VERSION = 4
_BYTES_AHEAD = 64 * 2**20
"""Of decoded pixels that may wait to be written."""
_TOGETHER = 16
"""Files that a thread decodes before it hands them over, which costs about as much as decoding a small one."""


class Reader(Protocol):
    """Decodes a file; its `repr` names all that the pixels depend on."""

    kind: str
    """What it reads, `image` or `clip`."""
    shape: tuple[int, ...]
    """Shape of the pixels, [..., S, S, 3]; for `read_whole` that of an ordinary image."""

    def __call__(self, path: Path) -> np.ndarray:
        """Return uint8 pixels of `shape`. Raises `ImageError`."""

    def check(self, path: Path) -> object:
        """Raise the `ImageError` that decoding the file would raise."""


def read_pixels(
    manifest: pd.DataFrame, reader: Reader, workers: int = 0
) -> tuple[np.ndarray | None, list[tuple[str, str]]]:
    """Return the pixels, uint8 [N, *reader.shape], and (path, error) of each file that cannot be read.

    The files are decoded only where the cache does not hold them. The pixels are None where they would not fit it;
    the files are then only checked.

    Args:
        manifest: N files.
        reader: Decodes one file.
        workers: Threads that decode; 0 for one per core.
    """
    shape = (len(manifest), *reader.shape)
    fits = int(np.prod(shape)) <= CACHE_LIMIT_BYTES
    stem = cache_root() / f"images-{_cache_key(manifest, reader)}"
    notes = stem.with_suffix(".json")
    if not (notes.exists() and (not fits or stem.with_suffix(".npy").exists())):
        _make_room(int(np.prod(shape)) if fits else 0)
        write_json(notes, _fill(manifest, reader, stem.with_suffix(".npy") if fits else None, workers))
    errors = [(path, error) for path, error in json.loads(notes.read_text())]
    if not fits:
        return None, errors
    with suppress(OSError):  # on a read-only disk its time of last use is not updated
        os.utime(stem.with_suffix(".npy"))
    return np.load(stem.with_suffix(".npy"), mmap_mode="r"), errors


def read_whole(
    manifest: pd.DataFrame, reader: Reader, workers: int = 0
) -> tuple[np.ndarray | None, list[tuple[str, str]], np.ndarray]:
    """Return images of any height and width, as `read_pixels` does others.

    Returns:
        Objects [N], each uint8 [H, W, 3], or None where they would not fit the cache; the errors; and the shapes,
        int [N, 3], 0 where a file cannot be read.
    """
    stem = cache_root() / f"images-{_cache_key(manifest, reader)}"
    notes, file = stem.with_suffix(".json"), stem.with_suffix(".raw")
    if not (notes.exists() and file.exists()):
        write_json(notes, _fill_whole(manifest, reader, file, workers))
    known = json.loads(notes.read_text())
    errors, shapes = [(path, error) for path, error in known["errors"]], np.array(known["shapes"])
    sizes = shapes.prod(1)
    if not 0 < sizes.sum() == file.stat().st_size:
        return None, errors, shapes
    with suppress(OSError):
        os.utime(file)
    images = np.empty(len(manifest), object)
    for row, flat in enumerate(np.split(np.memmap(file, mode="r"), sizes.cumsum()[:-1])):
        images[row] = flat.reshape(shapes[row])
    return images, errors, shapes


def _fill_whole(manifest: pd.DataFrame, reader: Reader, file: Path, workers: int) -> dict[str, list]:
    """Decode every file, one after the other into `file`, which stays empty where they do not fit the cache."""
    shapes = np.zeros((len(manifest), 3), int)
    total = room = 0
    with atomic_path(file) as temporary, temporary.open("wb") as stream:

        def keep(row: int, image: np.ndarray) -> None:
            nonlocal total, room
            shapes[row] = image.shape
            total += image.size
            if total > CACHE_LIMIT_BYTES:
                stream.truncate(0)
            else:
                if total > room:
                    room = min(total + _BYTES_AHEAD, CACHE_LIMIT_BYTES)
                    _make_room(room)
                stream.write(image)

        errors = _decode_all(manifest, reader, keep, workers)
    return {"errors": errors, "shapes": shapes.tolist()}


def _fill(manifest: pd.DataFrame, reader: Reader, file: Path | None, workers: int) -> list[tuple[str, str]]:
    """Decode every file, into the array `file` where one is given, and return the errors."""
    if file is None:
        return _decode_all(manifest, reader, None, workers)
    with atomic_path(file) as temporary:
        pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(manifest), *reader.shape))
        errors = _decode_all(manifest, reader, pixels.__setitem__, workers)
        pixels.flush()
    return errors


def _decode_all(
    manifest: pd.DataFrame,
    reader: Reader,
    keep: Callable[[int, np.ndarray], None] | None,
    workers: int,
) -> list[tuple[str, str]]:
    """Give every row and its pixels to `keep`, in order; return path and error of the others.

    Without `keep` the files are only checked.
    """
    files, errors = files_of(manifest), []
    read, doing = (reader, "decoding") if keep else (reader.check, "checking")

    def decode(file: Path) -> object:
        try:
            return read(file)
        except ImageError as error:
            return error

    ahead = max(1, _BYTES_AHEAD // int(np.prod(reader.shape)))
    together = min(_TOGETHER, max(1, ahead // (4 * worker_count(workers))))
    parts = (files[start : start + together] for start in range(0, len(files), together))
    decoded = read_ahead(lambda part: [decode(file) for file in part], parts, workers, ahead // together)
    progress = Progress(
        chain.from_iterable(decoded),
        f"{doing} {reader.kind}s",
        len(files),
        unit=reader.kind,
        disable=len(files) < 500,
    )
    for row, (path, image) in enumerate(zip(manifest["path"], progress, strict=True)):
        if isinstance(image, ImageError):
            errors.append((path, str(image)))
        elif keep:
            keep(row, image)
    return errors


def _make_room(needed: int) -> None:
    """Remove the least recently used caches until `needed` more bytes fit the limit."""
    files = sorted(cache_root().glob("images-*.[nr]??"), key=lambda file: file.stat().st_mtime)
    total = needed + sum(file.stat().st_size for file in files)
    for file in files:
        if total <= CACHE_LIMIT_BYTES:
            break
        total -= file.stat().st_size
        with suppress(OSError):  # on a read-only disk, writing will raise
            file.unlink()


def _cache_key(manifest: pd.DataFrame, reader: Reader) -> str:
    """Hash what the pixels depend on: the files, their sizes and times, and the reader."""
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
