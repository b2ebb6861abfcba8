"""Image files as detectors and people see them: a square of one size, and the whole."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from .imageio import MAX_PIXELS, Reduced, decode_reduced, read_bytes
from .resizing import fit_image

_LEFT = 2.25
"""Times the size of the square that a JPEG still has when it is decoded at a part of its size.

With 2, the mean difference of the pixels may exceed a grey level where every pixel is detail.
"""


class Picture:
    """An image file in memory: the square that a detector judges, and the whole for people.

    Each is decoded when it is asked for, so that damage shows then.
    """

    def __init__(self, data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> None:
        """Take the bytes of a file and what errors call it; see `imageio.decode_image`."""
        self._data, self._name, self._max_pixels = data, name, max_pixels
        self._parts: dict[int, Reduced] = {}

    @property
    def pixels(self) -> np.ndarray:
        """The whole image, uint8 [H, W, 3]. Raises `ImageError`."""
        return self._part(None).pixels

    def fitted(self, size: int) -> np.ndarray:
        """Return what `fit_image` makes of it, uint8 [size, size, 3]; of a large JPEG nearly so, and sooner.

        A JPEG whose shorter side is at least 4.5 times `size` is decoded at a half or a quarter of its size, as
        libjpeg does by leaving out high frequencies. That changes pixels by 0.2 to 0.5 grey levels on average
        (mosaics of photographs, quality 90, 4:2:0). It is decoded whole where the square in its middle would begin or
        end within one of the larger pixels, and where colours are not as coarse across as down, as in 4:2:2.

        Raises:
            ImageError: See `imageio.decode_image`.
        """
        return fit_image(self._part(math.ceil(_LEFT * size)).pixels, size)

    def _part(self, least: int | None) -> Reduced:
        """Return the image at a scale that leaves its shorter side so many pixels; each scale is decoded once."""
        for known in self._parts.values():
            if (scale := known.scale_for(least)) in self._parts:
                return self._parts[scale]
        part = decode_reduced(self._data, self._name, least, self._max_pixels)
        self._parts[part.scale] = part
        return part


def read_picture(path: str | Path) -> Picture:
    """Read a file. Raises `ImageError` where it is missing, too large or no file; damage shows later."""
    return Picture(read_bytes(path), str(path))
