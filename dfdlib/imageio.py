"""The one place that decodes an image: every odd file becomes RGB uint8, or an error that names it."""

from __future__ import annotations

import io
import stat
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
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


class UnknownFormatError(ImageError):
    """A file that is no image, or of a format that is not read."""


class TooLargeError(ImageError):
    """An image of more pixels than are allowed."""


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file, whatever its format and mode.

    Returns:
        uint8 [H, W, 3], RGB, upright by its EXIF orientation. See `decode_image`.

    Raises:
        ImageError: The file is missing, empty, damaged, too large or no image.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{path} is a folder, not an image.")
        if not stat.S_ISREG(mode):  # reading a pipe would wait for ever
            raise ImageError(f"{path} is no regular file.")
        data = path.read_bytes()
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist.") from None
    except OSError as error:
        raise ImageError(f"{path} cannot be opened: {error.strerror}.") from error
    except ValueError as error:
        raise ImageError(f"{str(path)!r} is not the name of a file ({error}).") from None
    return decode_image(data, str(path), max_pixels)


def decode_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image in memory.

    The first frame of an animation is taken; transparency is laid over white; 16-bit grey is scaled to 8
    bits; floating-point grey is taken as 0…1, or scaled by its minimum and maximum where it leaves that.
    Damage inside the data of a JPEG or a lossy WebP shows only where the decoder trips over it: these
    formats have no checksum.

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
    with _quiet_pillow():
        try:
            with Image.open(io.BytesIO(data), formats=_available_formats()) as image:
                _check_size(image.size, name, max_pixels)
                if image.format == "PNG":
                    _check_png(memoryview(data), name)
                image.load()
                upright = ImageOps.exif_transpose(image)
                return np.array(_to_rgb(upright), np.uint8, order="C")
        except ImageError:
            raise
        except Image.UnidentifiedImageError:
            raise UnknownFormatError(f"{name} is not an image in a known format.") from None
        except Image.DecompressionBombError:
            limit = min(max_pixels, 2 * Image.MAX_IMAGE_PIXELS)  # Pillow refuses above twice its constant
            raise TooLargeError(f"{name} has more than {limit:,} pixels; reduce it first.") from None
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
    """Write uint8 [H, W, 3] RGB, or [H, W] grey, in the format of the ending (JPEG at `quality`, PNG, …).

    Raises:
        DfdError: An ending that is no format, pixels of another type or shape, or a file that cannot be
            written.
    """
    path = Path(path)
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise DfdError(f"{path} needs uint8 pixels [H, W, 3] or [H, W], not {image.dtype} {image.shape}.")
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    lossy = path.suffix.lower() in (".jpg", ".jpeg")
    try:
        done, data = cv2.imencode(
            path.suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, int(quality)] if lossy else []
        )
    except cv2.error:  # an ending that OpenCV does not know
        done = False
    if not done:
        raise DfdError(f"{path} cannot be written as `{path.suffix}`; take .jpg or .png.")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters = None


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Ignore Pillow's warnings (odd metadata, large images) while any thread decodes.

    `catch_warnings` in each thread would restore the filters of another one, and silence the process for
    good.
    """
    global _quiet_depth, _quiet_filters
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_filters.__exit__(None, None, None)


def _check_png(data: memoryview, name: str) -> None:
    """Check the checksums of a PNG; Pillow skips them and may make pixels of the zeros of a lost end."""
    place = 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        kind = bytes(data[place + 4 : place + 8])
        matters = kind[:1].isupper() or kind == b"tRNS"
        if matters and zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ImageError(f"{name} is damaged and cannot be decoded (wrong checksum).")
        if kind == b"IEND":
            break
        place = end + 4


def _available_formats() -> list[str]:
    Image.init()
    return [name for name in _PIL_FORMATS if name in Image.OPEN]


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise TooLargeError(
            f"{name} has {width} × {height} pixels, more than {max_pixels:,}; reduce it first."
        )


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
    values = np.asarray(image)
    if image.mode != "F" and values.min() >= 0 and values.max() <= 65535:
        return (np.arange(65536) / 65535 * 255 + 0.5).astype(np.uint8)[values]
    finite = np.isfinite(values)
    low, high = (float(values[finite].min()), float(values[finite].max())) if finite.any() else (0.0, 1.0)
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scaled = (np.where(finite, values, low).astype(np.float64) - low) / max(high - low, 1e-12)
    return (scaled * 255 + 0.5).astype(np.uint8)
