"""Image files as detectors and people see them: fitted to a square, whole, and with a heatmap laid over them."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from dfdlib.core.errors import ImageError
from dfdlib.core.faces import Faces
from dfdlib.core.native import Native, Part
from dfdlib.images.decode import MAX_PIXELS, Reduced, decode_reduced, read_bytes
from dfdlib.images.faces import Square, cut_square, find_faces, square_around
from dfdlib.images.tiles import judged_shape, tile_squares

_SPARE = 2.25
"""The shorter side that a JPEG keeps when it is decoded at a part of its size, as a multiple of the fitted size.

With 2, the mean difference of the pixels may exceed a grey level where every pixel is detail.
"""


class Picture:
    """An image file in memory: the square that a detector judges, and the whole image for people.

    Each is decoded when it is asked for, so damage shows only then.
    """

    def __init__(self, data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> None:
        """Take the bytes of a file and what errors call it; see `decode.decode_image`."""
        self._data, self._name, self._max_pixels = data, name, max_pixels
        self._decoded: dict[int, Reduced] = {}
        self._squares: dict[Faces, list[Square | None]] = {}

    @property
    def pixels(self) -> np.ndarray:
        """The whole image, uint8 [H, W, 3]. Raises `ImageError`."""
        return self._decode(None).pixels

    def squares(self, faces: Part) -> list[Square | None]:
        """Return what of the image gets a verdict: squares around faces, the largest first; None is the image itself.

        Raises:
            ImageError: See `decode.decode_image`; or no face is found, and such images are refused.
        """
        if not isinstance(faces, Faces):
            return [None]
        if faces not in self._squares:
            found = [square_around(box, faces.margin) for box in find_faces(self.pixels, faces)]
            if not found and faces.missing == "refuse":
                raise ImageError(f"{self._name} shows no face that can be found.")
            self._squares[faces] = found[: None if faces.which == "all" else 1] or [None]
        return self._squares[faces]

    def views(self, size: int, interpolation: str = "bilinear", part: Part = None) -> np.ndarray:
        """Return what a detector sees, uint8 [K, size, size, 3]: each of `squares` as `fit_image` does, or `fit_views`."""
        if isinstance(part, Native):
            return fit_views(self.pixels, size, interpolation, part)
        squares = self.squares(part)
        if squares == [None]:
            return fit_image(self._fitting(size).pixels, size, interpolation)[None]
        crops = (cut_square(self.pixels, square) for square in squares)
        return np.stack([fit_image(crop, size, interpolation) for crop in crops])

    def judged(self, size: int, part: Part) -> str:
        """Say in words which part of the image a detector of this fit judges."""
        squares = self.squares(part)
        if squares != [None]:
            return "the largest face" if len(squares) == 1 else f"{len(squares)} faces"
        known = next(iter(self._decoded.values()), None) or self._decode(None)
        return say_judged(*known.pixels.shape[:2], size, part)

    def fitted(self, size: int, interpolation: str = "bilinear", faces: Faces | None = None) -> np.ndarray:
        """Return the image, or its largest face, as `fit_image` fits it, uint8 [size, size, 3].

        A JPEG that is fitted as a whole and whose shorter side is at least 4.5 times `size` is decoded at a half or a quarter of its size, for which
        libjpeg leaves out high frequencies. That changes pixels by 0.2 to 0.5 grey levels on average (mosaics of
        photographs, quality 90, 4:2:0). It is decoded at its full size where the square in its middle would begin or
        end within one of the larger pixels, and where colours are not equally coarse across and down, as in 4:2:2.

        Raises:
            ImageError: See `squares`.
        """
        return self.views(size, interpolation, faces)[0]

    def check(self, size: int, faces: Faces | None = None) -> None:
        """Raise the `ImageError` that `fitted` would raise, in less time."""
        if self.squares(faces) == [None]:
            self._fitting(size)

    def _fitting(self, size: int) -> Reduced:
        return self._decode(math.ceil(_SPARE * size))

    def _decode(self, min_side: int | None) -> Reduced:
        """Return the image with at least `min_side` pixels of its shorter side; each reduction is decoded once."""
        for known in self._decoded.values():
            if (reduction := known.reduction_for(min_side)) in self._decoded:
                return self._decoded[reduction]
        found = decode_reduced(self._data, self._name, min_side, self._max_pixels)
        self._decoded[found.reduction] = found
        return found


def read_picture(path: str | Path) -> Picture:
    """Read a file. Raises `ImageError` where it is missing, too large or no file; damage shows when it is decoded."""
    return Picture(read_bytes(path), str(path))


def centre_square(height: int, width: int) -> Square:
    """Return the largest square in the middle of an image."""
    side = min(height, width)
    return (width - side) // 2, (height - side) // 2, side


def part_inside(square: Square, height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of an image that a square covers."""
    left, top, side = square
    return slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width))


def fit_image(image: np.ndarray, size: int, interpolation: str = "bilinear") -> np.ndarray:
    """Fit an image into a square: the shorter side is scaled to `size`, then the middle is cut out.

    Training, evaluation and serving all look at this square (for large JPEGs see `Picture.fitted`). An image of
    `size` × `size` pixels is not resampled, which would blur the traces that detectors rely on.

    Args:
        image: uint8 [H, W, 3].
        size: Side of the square in pixels.
        interpolation: `bilinear` or `bicubic`; antialiased where the image shrinks.

    Returns:
        uint8 [size, size, 3].
    """
    shape = image.shape[:2]
    square = image[part_inside(centre_square(*shape), *shape)]  # cut first: the same pixels for less work
    side = len(square)
    if side == size:
        return np.ascontiguousarray(square)
    if side < size:
        method = cv2.INTER_CUBIC if interpolation == "bicubic" else cv2.INTER_LINEAR
        return cv2.resize(square, (size, size), interpolation=method)
    return _shrunk(square, (size, size), interpolation)


def fit_views(image: np.ndarray, size: int, interpolation: str = "bilinear", part: Part = None) -> np.ndarray:
    """Return what a detector sees of pixels: as `fit_image`, or native squares, see `tiles.parse_fit`.

    Returns:
        uint8 [K, size, size, 3].
    """
    if not isinstance(part, Native):
        return fit_image(image, size, interpolation)[None]
    image = shrink_to_tiles(image, size, interpolation, part)
    return np.stack([cut_square(image, square) for square in tile_squares(*image.shape[:2], size, part)])


def shrink_to_tiles(image: np.ndarray, size: int, interpolation: str, native: Native) -> np.ndarray:
    """Return an image as tiles are cut from it: itself, or shrunk where there would be too many."""
    shape = judged_shape(*image.shape[:2], size, native)
    return image if shape == image.shape[:2] else _shrunk(image, shape, interpolation)


def say_judged(height: int, width: int, size: int, part: Part) -> str:
    """Say in words which part of an image a detector judges that sees no faces in it."""
    if not isinstance(part, Native):
        return "the whole picture" if height == width else "the middle square"
    shape = judged_shape(height, width, size, part)
    n = len(tile_squares(*shape, size, part))
    if n > 1:
        reduced = "" if shape[0] == height else f", reduced to {shape[1]} × {shape[0]} pixels"
        return f"{n} overlapping squares, the whole picture{reduced}"
    if max(shape) <= size:
        return "the whole picture"
    return f"the middle {min(width, size)} × {min(height, size)} pixels"


def reduce_image(image: np.ndarray, longest_side: int) -> np.ndarray:
    """Reduce an image for display until its longer side has at most `longest_side` pixels.

    Args:
        image: uint8 [H, W, 3].
        longest_side: In pixels; a smaller image is returned unchanged.
    """
    scale = longest_side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _shrunk(image: np.ndarray, shape: tuple[int, int], interpolation: str) -> np.ndarray:
    """Reduce uint8 [H, W, 3] to `shape` by an antialiased filter, as torchvision and Pillow do.

    The pixels are the same as theirs, in about 40 % of the time of OpenCV's INTER_AREA.
    """
    import torch.nn.functional as F  # most uses of this module need no PyTorch
    from torch import from_numpy

    # `unsqueeze` comes first: otherwise PyTorch copies each colour into a plane, which takes three times as long.
    pixels = from_numpy(np.ascontiguousarray(image)).unsqueeze(0).permute(0, 3, 1, 2)
    small = F.interpolate(pixels, shape, mode=interpolation, antialias=True, align_corners=False)
    return np.ascontiguousarray(small[0].permute(1, 2, 0).numpy())


def overlay(
    image: np.ndarray, heatmap: np.ndarray, opacity: float = 0.45, square: Square | None = None
) -> np.ndarray:
    """Lay a heatmap over an image: red and yellow mark what matters, blue what does not.

    Args:
        image: uint8 [H, W, 3], RGB, of any size.
        heatmap: float [S, S] in [0, 1], of the square that the detector saw.
        opacity: Of the heatmap, 0 to 1.
        square: See `Picture.squares`; the one that `fit_image` cuts from the middle when not given.

    Returns:
        uint8 [H, W, 3], RGB; unchanged outside the square, which the detector did not see.
    """
    shown = image.copy()
    seen, heat = place_heatmap(heatmap, *image.shape[:2], square)
    levels = (heat.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    shown[seen] = cv2.addWeighted(shown[seen], 1 - opacity, colours, opacity, 0)
    return shown


def place_heatmap(
    heatmap: np.ndarray, height: int, width: int, square: Square | None = None
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the rows and columns of an image that a heatmap covers, see `overlay`, and the heat there, float32 [h, w]."""
    left, top, side = square or centre_square(height, width)
    rows, columns = part_inside((left, top, side), height, width)
    scaled = cv2.resize(heatmap.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    inside = scaled[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return (rows, columns), inside
