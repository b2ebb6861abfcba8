"""What sets JPEGs apart: they can be decoded at a part of their size, and faster by OpenCV than by Pillow."""

from __future__ import annotations

import re

import cv2
import numpy as np
from PIL import Image

from dfdlib.core.errors import ImageError

MAX_SCANS = 100
"""JPEGs of more scans are refused, as in libtiff: each scan of 20 bytes costs a pass over all pixels."""


def _check_scans(data: bytes, name: str) -> None:
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
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,  # "reduced" alone: the colour is said by another bit
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
}
_IN_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # since OpenCV 4.11
_NO_END = np.isin(np.arange(256), [0x00, *range(0xD0, 0xD8), 0xFF])  # escaped byte, restart, filling


def scales_of(image: Image.Image, turned: bool) -> tuple[int, ...]:
    """Return the scales that an opened JPEG can be decoded at for its middle square, the largest first, 1 the last.

    The square must begin and end between the larger pixels. Of an image that is to be turned, the border may cut none
    of these, as they would come first then. Colours must be as coarse across as down: for that alone libjpeg makes up.
    """
    across, down = (max(layer[i] for layer in image.layer) for i in (1, 2))
    if any(across * layer[2] != down * layer[1] for layer in image.layer):
        return (1,)
    side, longer = sorted(image.size)
    margin = (longer - side) // 2
    cuts = (side, margin, longer) if turned else (side, margin)
    return tuple(scale for scale in (4, 2, 1) if all(cut % scale == 0 for cut in cuts))


def largest_scale(scales: tuple[int, ...], side: int, least: int | None) -> int:
    """Return the first scale that leaves so many pixels of a side; 1 where all are wanted, which is None."""
    return next(scale for scale in scales if scale == 1 or (least is not None and side // scale >= least))


def decode_plain(image: Image.Image, data: bytes, scale: int) -> np.ndarray | None:
    """Decode an upright JPEG by OpenCV if it is plain: in colour, of one scan that ends as it should; or return None.

    Args:
        image: As Pillow opened it, and was told the scale by `draft`.
        data: The bytes of the file.
        scale: 1, 2 or 4; uint8 [⌈H / scale⌉, ⌈W / scale⌉, 3] are returned.

    OpenCV and Pillow both use libjpeg-turbo, so the pixels are the same, in two thirds of the time. But OpenCV
    makes pixels of damage that Pillow refuses, so all that is odd is left to Pillow.
    """
    if _IN_RGB is None or image.mode != "RGB":
        return None
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    scan = np.frombuffer(data, np.uint8, offset=min(place + 2, len(data)))
    marks = scan[1:][scan[:-1] == 0xFF]  # half the time of a regular expression
    ends = marks[~_NO_END[marks]]
    if len(ends) == 0 or ends[0] != 0xD9:
        return None
    try:
        how = _IN_RGB | cv2.IMREAD_IGNORE_ORIENTATION | _REDUCED[scale]
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        return None
    return pixels if pixels is not None and pixels.shape == (image.height, image.width, 3) else None
