"""Images brought to another size: for detectors, and for showing."""

from __future__ import annotations

import cv2
import numpy as np


def fit_image(image: np.ndarray, size: int) -> np.ndarray:
    """Fit an image into a square: the shorter side is scaled to `size`, then the middle is cut out.

    What training, evaluation and serving look at, large JPEGs apart: see `pictures.Picture`. An image that is
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
