"""What happens to images as they are shared: compression, blur, resizing, noise, cropping, re-posting.

Training varies images with these (Wang et al. 2020, CNNDetection, arXiv:1912.11035), and robustness is
measured under them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """Save uint8 [H, W, 3] RGB as JPEG of a quality (1 to 100) and read it back."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, round(quality)])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur with a Gaussian of `sigma` pixels; 0 leaves the image unchanged."""
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0 else image


def resize(image: np.ndarray, scale: float) -> np.ndarray:
    """Resample to `scale` of the size (above 0) and back to the old size."""
    if scale == 1:
        return image
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    height, width = image.shape[:2]
    other = cv2.resize(
        image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=method
    )
    return cv2.resize(other, (width, height), interpolation=cv2.INTER_LINEAR)


def noise(image: np.ndarray, sigma: float) -> np.ndarray:
    """Add Gaussian noise of `sigma` grey levels, the same for the same image."""
    rng = np.random.default_rng(int(image[::7, ::7].astype(np.uint64).sum()))
    noisy = image + rng.normal(0, sigma, image.shape) if sigma > 0 else image
    return (np.clip(noisy, 0, 255) + 0.5).astype(np.uint8)


def crop(image: np.ndarray, share: float) -> np.ndarray:
    """Keep the middle `share` (above 0, at most 1) of each side, scaled back to the old size."""
    height, width = image.shape[:2]
    h, w = max(1, round(height * share)), max(1, round(width * share))
    top, left = (height - h) // 2, (width - w) // 2
    return cv2.resize(image[top : top + h, left : left + w], (width, height), interpolation=cv2.INTER_LINEAR)


def repost(image: np.ndarray, times: float) -> np.ndarray:
    """Share an image several `times`: each time it is reduced a little, sharpened, and saved at a medium quality."""
    for _ in range(round(times)):
        image = resize(image, 0.75)
        image = cv2.addWeighted(image, 1.3, cv2.GaussianBlur(image, (0, 0), 1.0), -0.3, 0)
        image = jpeg(image, 75)
    return image


@dataclass(frozen=True)
class Degradation:
    """A way in which images lose quality, and the levels at which to measure it."""

    apply: Callable[[np.ndarray, float], np.ndarray]
    """(uint8 [H, W, 3] RGB, level) to uint8 [H, W, 3]."""
    levels: tuple[float, ...]
    """From weak to strong; each changes the image."""
    unit: str
    """What a level means, for the axis of a figure."""
    unmodified: float = math.nan
    """The level that changes no pixel; NaN where there is none."""


DEGRADATIONS: dict[str, Degradation] = {
    # Even quality 100 changes pixels: it halves the resolution of colour.
    "jpeg": Degradation(jpeg, (100, 90, 75, 50, 30), "JPEG quality"),
    "blur": Degradation(blur, (0.5, 1, 2, 3), "blur, σ in pixels", unmodified=0),
    "resize": Degradation(resize, (0.9, 0.75, 0.5, 0.25), "resampled to this scale and back", unmodified=1),
    "noise": Degradation(noise, (2, 5, 10, 20), "noise, σ in grey levels", unmodified=0),
    "crop": Degradation(crop, (0.9, 0.8, 0.65, 0.5), "middle part kept of each side", unmodified=1),
    "repost": Degradation(repost, (1, 2, 3), "times re-posted", unmodified=0),
}
"""Every degradation by name."""
