"""JPEG alone: decoding at a part of the size, and by OpenCV, which is faster than Pillow."""

from __future__ import annotations

import re

import cv2
import numpy as np
from PIL import Image

from dfdlib.core.errors import ImageError

MAX_SCANS = 100
"""JPEGs of more scans are refused, as in libtiff: a scan may be 20 bytes long and costs a pass over all pixels."""


def check_scans(data: bytes, name: str) -> None:
    """Refuse a JPEG of very many scans: a megabyte of them takes hours."""
    scans = place = 0
    marker = re.compile(rb"\xff([^\x00\xff\xd0-\xd8])", re.DOTALL)
    while (found := marker.search(data, place)) and found[1] != b"\xd9":
        scans += found[1] == b"\xda"
        if scans > MAX_SCANS:
            raise ImageError(f"{name} has more than {MAX_SCANS} scans; save it again.")
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")


_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,  # the bit "reduced" alone; colour is another bit
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
}
_IN_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # since OpenCV 4.11
_INSIDE_SCAN = np.isin(np.arange(256), [0x00, *range(0xD0, 0xD8), 0xFF])
"""Bytes that may follow 0xFF within a scan: an escaped 0xFF, a restart, a fill byte."""


def reductions_of(image: Image.Image, turned: bool) -> tuple[int, ...]:
    """Return the reductions at which the middle square of a JPEG can be decoded, the largest first, 1 the last.

    The square must begin and end on the border of a larger pixel. Where the image will be turned, its own border must
    do so too, as cut pixels would then come first. Colours must be equally coarse across and down: where they are not,
    libjpeg interpolates them in one direction only.

    Args:
        image: As Pillow opened it.
        turned: Whether its EXIF says that it is to be turned.
    """
    across, down = (max(layer[i] for layer in image.layer) for i in (1, 2))
    if any(across * layer[2] != down * layer[1] for layer in image.layer):
        return (1,)
    side, longer = sorted(image.size)
    margin = (longer - side) // 2
    cuts = (side, margin, longer) if turned else (side, margin)
    return tuple(reduction for reduction in (4, 2, 1) if all(cut % reduction == 0 for cut in cuts))


def largest_reduction(possible: tuple[int, ...], side: int, min_side: int | None) -> int:
    """Return the first reduction that leaves at least `min_side` pixels of a side; 1 where `min_side` is None."""
    return next(
        reduction
        for reduction in possible
        if reduction == 1 or (min_side is not None and side // reduction >= min_side)
    )


def decode_plain(image: Image.Image, data: bytes, reduction: int) -> np.ndarray | None:
    """Decode an upright colour JPEG with one undamaged scan by OpenCV; return None for any other.

    OpenCV and Pillow both use libjpeg-turbo, so the pixels are the same, in two thirds of the time. But OpenCV
    returns pixels for damaged files that Pillow refuses, so everything unusual is left to Pillow.

    Args:
        image: As Pillow opened it, with the reduction set by `draft`.
        data: The bytes of the file.
        reduction: 1, 2 or 4.

    Returns:
        uint8 [⌈H / reduction⌉, ⌈W / reduction⌉, 3], RGB.
    """
    if _IN_RGB is None or image.mode != "RGB":
        return None
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    scan = np.frombuffer(data, np.uint8, offset=min(place + 2, len(data)))
    marks = scan[1:][scan[:-1] == 0xFF]  # half the time of a regular expression
    ends = marks[~_INSIDE_SCAN[marks]]
    if len(ends) == 0 or ends[0] != 0xD9:
        return None
    try:
        how = _IN_RGB | cv2.IMREAD_IGNORE_ORIENTATION | _REDUCED[reduction]
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        return None
    return pixels if pixels is not None and pixels.shape == (image.height, image.width, 3) else None
