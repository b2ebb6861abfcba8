"""Squares of native pixels: the one in the middle of an image, or overlapping ones over all of it."""

from __future__ import annotations

import re

import numpy as np

from dfdlib.core.errors import DfdError, unknown
from dfdlib.core.native import Native
from dfdlib.images.faces import Square

FITS = ("resize", "crop", "tiles")
_OVERLAP = 4
"""Neighbouring tiles share at least this part of their side: a quarter."""


def parse_fit(text: str) -> Native | None:
    """Read what of an image is judged.

    Args:
        text: `resize`: the shorter side is fitted, and the middle square judged (None). `crop`: pixels are never
            resampled; a random square in training, the middle one in judging. `tiles`: trained like `crop`, judged by
            overlapping squares over the whole image; after commas what is to differ from `most=32, top=1`, see
            `Native`. An image smaller than a square is continued by its mirror image.

    Raises:
        DfdError: An unknown word, or a number out of range.
    """
    how, *words = (part.strip() for part in text.split(","))
    if how not in FITS:
        raise unknown("word in `fit`", how, FITS)
    given = {"most": 32, "top": 1.0}
    for word in words:
        found = re.fullmatch(r"(most)=(\d{1,4})|(top)=(0?\.\d+|1)", word)
        if how != "tiles" or found is None:
            raise unknown("word in `fit`", word, ["tiles", "most=32", "top=0.25"])
        name, value = (group for group in found.groups() if group)
        given[name] = type(given[name])(value)
    if not (given["most"] and given["top"]):
        raise DfdError(f"`fit` is {text!r}; `most` must be at least 1, and `top` above 0.")
    return None if how == "resize" else Native(tiles=True, **given) if how == "tiles" else Native()


def judged_shape(height: int, width: int, size: int, native: Native) -> tuple[int, int]:
    """Return the height and width that an image is shrunk to, so that `most` tiles of `size` pixels cover it."""
    if not native.tiles:
        return height, width
    reach = [size + (n - 1) * _stride(size) for n in range(native.most + 1)]
    grids = ((native.most // columns, columns) for columns in range(1, native.most + 1))
    scale = max(min(reach[rows] / height, reach[columns] / width) for rows, columns in grids)
    return (height, width) if scale >= 1 else (max(1, int(height * scale)), max(1, int(width * scale)))


def tile_squares(height: int, width: int, size: int, native: Native) -> list[Square]:
    """Return the squares of an image of `judged_shape` that are judged, row by row."""
    if not native.tiles:
        return [((width - size) // 2, (height - size) // 2, size)]
    return [(left, top, size) for top in _starts(height, size) for left in _starts(width, size)]


def _starts(length: int, size: int) -> list[int]:
    """Return where tiles begin along a side."""
    if length <= size:
        return [(length - size) // 2]
    n = -((size - length) // _stride(size)) + 1
    return np.linspace(0, length - size, n).round().astype(int).tolist()


def _stride(size: int) -> int:
    return size - size // _OVERLAP


def stitch(maps: np.ndarray, squares: list[Square]) -> tuple[np.ndarray, Square]:
    """Put the maps of squares together into one; where they overlap, it is their mean.

    Args:
        maps: float32 [K, S, S].
        squares: K squares of S pixels.

    Returns:
        float32 [C, C], and the square that it covers, the smallest one that holds them all.
    """
    size, places = maps.shape[-1], np.array(squares)[:, :2]
    left, top = places.min(0)
    side = int((places.max(0) - (left, top)).max()) + size
    total, count = np.zeros((2, side, side), np.float32)
    for one, (x, y) in zip(maps, places - (left, top), strict=True):
        total[y : y + size, x : x + size] += one
        count[y : y + size, x : x + size] += 1
    return total / np.maximum(count, 1), (int(left), int(top), side)
