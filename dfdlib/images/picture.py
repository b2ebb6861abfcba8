"""Image files as detectors and people see them: a square of one size, the whole, and a heatmap laid over it."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from dfdlib.images.decode import MAX_PIXELS, Reduced, decode_reduced, read_bytes

_LEFT = 2.25
"""Times the size of the square that a JPEG still has when it is decoded at a part of its size.

With 2, the mean difference of the pixels may exceed a grey level where every pixel is detail.
"""


class Picture:
    """An image file in memory: the square that a detector judges, and the whole for people.

    Each is decoded when it is asked for, so that damage shows then.
    """

    def __init__(self, data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> None:
        """Take the bytes of a file and what errors call it; see `decode.decode_image`."""
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
            ImageError: See `decode.decode_image`.
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


def fit_image(image: np.ndarray, size: int) -> np.ndarray:
    """Fit an image into a square: the shorter side is scaled to `size`, then the middle is cut out.

    What training, evaluation and serving look at, large JPEGs apart: see `picture.Picture`. An image that is
    `size` × `size` stays untouched: any resampling would blur the traces that detectors live on.

    Args:
        image: uint8 [H, W, 3].
        size: Side of the square in pixels.

    Returns:
        uint8 [size, size, 3].
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]  # the same pixels as cutting last, at less work
    if side == size:
        return np.ascontiguousarray(square)
    if side < size:
        return cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)
    return _shrunk(square, size)


def reduce_image(image: np.ndarray, longest_side: int) -> np.ndarray:
    """Reduce an image for showing or drawing until its longer side has at most so many pixels.

    Args:
        image: uint8 [H, W, 3].
        longest_side: Pixels; an image that keeps to it is returned as it is.
    """
    scale = longest_side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _shrunk(square: np.ndarray, size: int) -> np.ndarray:
    """Reduce uint8 [S, S, 3] by an antialiased triangle filter, as torchvision and Pillow do.

    Its pixels are theirs, and it takes about 40 % of the time of OpenCV's INTER_AREA.
    """
    import torch.nn.functional as F  # most uses of this module need no PyTorch
    from torch import from_numpy

    # `unsqueeze` comes first: otherwise PyTorch makes planes of the colours, which takes three times as long.
    pixels = from_numpy(np.ascontiguousarray(square)).unsqueeze(0).permute(0, 3, 1, 2)
    small = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return np.ascontiguousarray(small[0].permute(1, 2, 0).numpy())


def overlay(image: np.ndarray, heatmap: np.ndarray, opacity: float = 0.45) -> np.ndarray:
    """Lay a heatmap over an image: red and yellow matter, blue does not.

    Args:
        image: uint8 [H, W, 3], RGB, of any size.
        heatmap: float [S, S] in [0, 1], of the square that `picture.fit_image` cut from the middle.
        opacity: Of the heatmap, 0 to 1.

    Returns:
        uint8 [H, W, 3], RGB; what the detector did not see stays as it is.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    scaled = cv2.resize(heatmap.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    levels = (scaled.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    shown = image.copy()
    square = shown[top : top + side, left : left + side]
    square[:] = cv2.addWeighted(square, 1 - opacity, colours, opacity, 0)
    return shown
