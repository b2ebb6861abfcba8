"""Smooth pictures, each unlike any other, as files: what tests of duplicates and audits look at."""

import cv2
import numpy as np


def picture(seed, size=96):
    """A smooth picture unlike any other."""
    rng = np.random.default_rng(seed)
    return cv2.resize(
        rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), (size, size), interpolation=cv2.INTER_CUBIC
    )


def save(root, name, image, quality=90):
    """Write an RGB picture below a folder."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    cv2.imwrite(str(path), image[..., ::-1], flags)
