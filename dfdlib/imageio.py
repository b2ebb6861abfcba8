"""The one place that decodes an image: every odd file becomes RGB uint8, or an error that names it."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from .errors import DfdError
from .files import atomic_path

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".jp2",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ]
)
"""Endings, in lower case, of the files that count as images."""
MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: 100 megapixels take 300 MB."""

# Pillow's own bomb limit warns in one place and raises in another; ours is checked first.
_PIL_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "MPO")


class ImageError(DfdError):
    """An image that cannot be read; the message names the file and the reason."""


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file, whatever its format and mode.

    Returns:
        uint8 [H, W, 3], RGB, upright by its EXIF orientation. See `decode_image`.

    Raises:
        ImageError: The file is missing, empty, damaged, too large or no image.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder, not an image.") from None
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist.") from None
    except OSError as error:
        raise ImageError(f"{path} cannot be opened: {error.strerror}.") from error
    return decode_image(data, str(path), max_pixels)


def decode_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image in memory.

    The first frame of an animation is taken; transparency is laid over white; 16-bit and floating-point
    pixels are scaled to 8 bits.

    Args:
        data: The bytes of the file.
        name: What errors call it.
        max_pixels: Dimensions above this are refused before decoding.

    Returns:
        uint8 [H, W, 3], RGB, contiguous and writable.

    Raises:
        ImageError: Empty, damaged, truncated, too large or no image.
    """
    if not data:
        raise ImageError(f"{name} is empty.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged metadata beside sound pixels is no concern of the user
        try:
            with Image.open(io.BytesIO(data), formats=_available_formats()) as image:
                _check_size(image.size, name, max_pixels)
                image.load()
                upright = ImageOps.exif_transpose(image)
                return np.array(_to_rgb(upright), np.uint8, order="C")
        except ImageError:
            raise
        except Image.UnidentifiedImageError:
            raise ImageError(f"{name} is not an image in a known format.") from None
        except Image.DecompressionBombError:
            raise ImageError(f"{name} has more than {max_pixels:,} pixels; reduce it first.") from None
        except MemoryError:
            raise ImageError(f"{name} does not fit into memory; reduce it first.") from None
        except Exception as error:  # decoders raise many kinds; each means that the file is damaged
            raise ImageError(
                f"{name} is damaged and cannot be decoded ({error or type(error).__name__})."
            ) from error


def fit_image(image: np.ndarray, size: int) -> np.ndarray:
    """Fit an image into a square: the shorter side is scaled to `size`, then the middle is cut out.

    The one resize of training, evaluation and serving. An image that is `size` × `size` stays untouched:
    any resampling would blur the traces that detectors live on.

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
    smaller = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(square, (size, size), interpolation=smaller)


def write_image(path: str | Path, image: np.ndarray, quality: int = 95) -> None:
    """Write uint8 [H, W, 3] RGB, or [H, W] grey, in the format of the ending (JPEG at `quality`, PNG, …)."""
    path = Path(path)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, data = cv2.imencode(path.suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not done:
        raise DfdError(f"{path} cannot be written as `{path.suffix}`; take .jpg or .png.")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _available_formats() -> list[str]:
    Image.init()
    return [name for name in _PIL_FORMATS if name in Image.OPEN]


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(f"{name} has {width} × {height} pixels, more than {max_pixels:,}; reduce it first.")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bits(image)).convert("RGB")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        straight = image.convert("RGBA")
        white = Image.new("RGBA", straight.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, straight).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> np.ndarray:
    """Scale 16-bit and 32-bit grey to uint8 [H, W]; Pillow's own conversion saturates."""
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        bottom, top = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    else:
        bottom, top = (0.0, 65535.0) if low >= 0 and high <= 65535 else (low, high)
    return ((values - bottom) / max(top - bottom, 1e-12) * 255 + 0.5).clip(0, 255).astype(np.uint8)
