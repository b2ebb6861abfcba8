"""The one place that decodes image files: every file becomes RGB uint8, or an error that names it."""

from __future__ import annotations

import io
import stat
import warnings
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from dfdlib.core.errors import DfdError, ImageError, TooLargeError, UnknownFormatError
from dfdlib.core.files import atomic_path
from dfdlib.images.jpeg import MAX_SCANS, check_scans, decode_plain, largest_reduction, reductions_of
from dfdlib.images.png import PNG_START, check_rows, sound_png

warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata; large images are refused by our own limit

_FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "MPO": (),  # several JPEGs in one file, which cameras write as .jpg
}
"""The formats that are read, by Pillow's names, and the endings of their files."""
IMAGE_SUFFIXES = frozenset(chain.from_iterable(_FORMATS.values()))
"""Endings, in lower case, of the files that count as images."""
MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: 100 megapixels take 300 MB."""
MAX_BYTES = 2**30
"""Larger files are refused before they are read: 100 megapixels of 16-bit RGBA take 800 MB uncompressed."""


class Reduced(NamedTuple):
    """An image decoded at its full size, or at a half or a quarter of it."""

    pixels: np.ndarray
    """uint8 [⌈H / reduction⌉, ⌈W / reduction⌉, 3], RGB."""
    reduction: int
    """1, 2 or 4: each pixel stands for `reduction` × `reduction` pixels of the image."""
    possible: tuple[int, ...]
    """The reductions at which the file can be decoded, the largest first; (1,) for all but some JPEGs."""

    def reduction_for(self, min_side: int | None) -> int:
        """Return the largest possible reduction that leaves the shorter side `min_side` pixels."""
        return largest_reduction(self.possible, min(self.pixels.shape[:2]) * self.reduction, min_side)


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file, whatever its format and mode.

    Returns:
        uint8 [H, W, 3], RGB, upright by its EXIF orientation. See `decode_image`.

    Raises:
        ImageError: The file is missing, empty, damaged, too large or no image.
    """
    return decode_image(read_bytes(path), str(path), max_pixels)


def read_bytes(path: str | Path) -> bytes:
    """Read the bytes of an image file. Raises `ImageError`: it is missing, too large or no file."""
    path = Path(path)
    try:
        status = path.stat()
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{path} is a folder, not an image.")
        if not stat.S_ISREG(mode):  # reading a pipe would wait for ever
            raise ImageError(f"{path} is no regular file.")
        if status.st_size > MAX_BYTES:
            raise ImageError(
                f"{path} has {status.st_size:,} bytes, more than {MAX_BYTES:,}; reduce it first."
            )
        return path.read_bytes()
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{path} does not fit into memory; reduce it first.") from None
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist.") from None
    except OSError as error:
        raise ImageError(f"{path} cannot be opened: {error.strerror}.") from error
    except ValueError as error:
        raise ImageError(f"{str(path)!r} is not the name of a file ({error}).") from None


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
    return decode_reduced(data, name, None, max_pixels).pixels


def decode_reduced(data: bytes, name: str, min_side: int | None, max_pixels: int = MAX_PIXELS) -> Reduced:
    """Decode an image in memory; a large JPEG at a half or a quarter of its size, which takes far less time.

    Args:
        data: The bytes of the file.
        name: What errors call it.
        min_side: Pixels that the shorter side keeps; None for all of them.
        max_pixels: Dimensions above this are refused before decoding.

    Raises:
        ImageError: See `decode_image`.
    """
    if not data:
        raise ImageError(f"{name} is empty.")
    try:
        if data.startswith(PNG_START):
            data = sound_png(data, name)
        with Image.open(io.BytesIO(data), formats=_available_formats()) as image:
            return _decode_opened(image, data, name, min_side, max_pixels)
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


def _decode_opened(
    image: Image.Image, data: bytes, name: str, min_side: int | None, max_pixels: int
) -> Reduced:
    """Decode what Pillow has opened, of which it has read the header alone."""
    _check_size(image.size, name, max_pixels)
    jpeg = image.format in ("JPEG", "MPO")
    turned = jpeg and _turn(image) is not None  # Pillow turns a TIFF by itself as it loads it
    possible = reductions_of(image, turned) if jpeg else (1,)
    reduction = largest_reduction(possible, min(image.size), min_side)
    if reduction > 1:
        image.draft(None, (image.width // reduction, image.height // reduction))
    plain = decode_plain(image, data, reduction) if image.format == "JPEG" and not turned else None
    if plain is not None:
        return Reduced(plain, reduction, possible)
    if image.format == "TIFF":  # a tile is decoded whole, whatever the size of the image
        _check_size((image.tag_v2.get(322, 0), image.tag_v2.get(323, 0)), name, max_pixels)
    elif jpeg and data.count(b"\xff\xda") > MAX_SCANS:
        check_scans(data, name)
    image.load()
    if image.format == "PNG" and not any(image.crop((0, image.height - 1, *image.size)).tobytes()):
        check_rows(data, name)
    turn = _turn(image)
    upright = image if turn is None else image.transpose(turn)
    pixels = np.array(_to_rgb(upright), np.uint8, order="C")
    if image.format == "TIFF" and image.mode == "I;16" and image.tag_v2.get(262) == 0:
        pixels = 255 - pixels  # white is zero, which Pillow heeds up to 8 bits
    return Reduced(pixels, reduction, possible)


def write_image(path: str | Path, image: np.ndarray, quality: int = 95) -> None:
    """Write uint8 [H, W, 3] RGB, or [H, W] grey, in the format that the ending names (JPEG at `quality`, PNG, …).

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


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that makes an image upright by its EXIF; None where it needs none or the EXIF is damaged.

    Pillow's `exif_transpose` also rewrites the EXIF, and fails on tags that have nothing to do with the turn.
    """
    try:
        return _TURNS.get(image.getexif().get(0x0112))
    except Exception:
        return None


def _available_formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise TooLargeError(
            f"{name} has {width} × {height} pixels, more than {max_pixels:,}; reduce it first."
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bits(image)).convert("RGB")
    if image.mode == "La":  # Pillow converts it to nothing but LA
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        straight = image.convert("RGBA")
        white = Image.new("RGBA", straight.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, straight).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


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
