"""Faces in photographs and videos: found, cropped with a margin, followed over frames."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dfdlib.core.errors import DfdError

_LONGEST_SIDE = 640


@dataclass(frozen=True)
class Face:
    """One face in one image."""

    box: tuple[float, float, float, float]
    """Left, top, width and height in pixels."""
    score: float
    """Confidence, 0 to 1; 1 from a cascade, which gives none."""


class FaceDetector:
    """Finds faces with YuNet (Wu et al. 2023, doi:10.1007/s11633-023-1423-y) or OpenCV's cascade."""

    def __init__(self, model: str | Path = "", min_score: float = 0.7) -> None:
        """Load the detector.

        Args:
            model: YuNet's `face_detection_yunet_*.onnx`, from OpenCV's model zoo; without it the cascade for
                frontal faces is used, which OpenCV had before version 5.
            min_score: Least confidence of a face; YuNet only.

        Raises:
            DfdError: The file is missing or is no such model; or no model is given and OpenCV has no cascade.
        """
        self.name, self._lock = f"{Path(model).name if model else 'cascade'} {min_score}", threading.Lock()
        if model:
            if not Path(model).is_file():
                raise DfdError(f"no face detector at {model}; pass YuNet's .onnx file.")
            try:
                self._yunet = cv2.FaceDetectorYN.create(str(model), "", (320, 320), min_score)
            except cv2.error as error:
                raise DfdError(
                    f"{model} cannot be loaded as YuNet; take it from OpenCV's model zoo."
                ) from error
            return
        self._yunet = None
        if not hasattr(cv2, "CascadeClassifier"):
            raise DfdError(
                f"OpenCV {cv2.__version__} carries no face cascade any more; pass YuNet's .onnx file "
                "(OpenCV's model zoo, face_detection_yunet), or install opencv-python-headless<5."
            )
        self._cascade = cv2.CascadeClassifier(
            str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml")
        )

    def find(self, image: np.ndarray) -> list[Face]:
        """Find the faces in uint8 [H, W, 3] RGB, the largest first. Safe to call from several threads."""
        scale = min(1.0, _LONGEST_SIDE / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        with self._lock:
            found = self._by_yunet(small) if self._yunet is not None else self._by_cascade(small)
        faces = [Face(tuple(float(side) / scale for side in box), score) for box, score in found]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def _by_yunet(self, image: np.ndarray) -> list[tuple[np.ndarray, float]]:
        self._yunet.setInputSize(image.shape[1::-1])
        _, rows = self._yunet.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return [] if rows is None else [(row[:4], float(row[-1])) for row in rows]

    def _by_cascade(self, image: np.ndarray) -> list[tuple[np.ndarray, float]]:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return [(box, 1.0) for box in self._cascade.detectMultiScale(grey, 1.1, 5, minSize=(24, 24))]


def crop_face(image: np.ndarray, box: tuple[float, ...] | np.ndarray, margin: float = 0.3) -> np.ndarray:
    """Cut a square around a face, mirrored where it leaves the image.

    Args:
        image: uint8 [H, W, 3].
        box: Left, top, width, height in pixels.
        margin: Added on each side, as a fraction of the longer side of the box.

    Returns:
        uint8 [S, S, 3].
    """
    left, top, width, height = (float(side) for side in box)
    side = max(2, round(max(width, height) * (1 + 2 * margin)))
    x, y = round(left + width / 2 - side / 2), round(top + height / 2 - side / 2)
    rows, columns = (
        _reflect(np.arange(side) + first, n) for first, n in ((y, image.shape[0]), (x, image.shape[1]))
    )
    return np.ascontiguousarray(image[rows[:, None], columns[None]])


def follow_face(frames: np.ndarray, detector: FaceDetector, every: int = 1) -> np.ndarray | None:
    """Follow the main face over the frames of a clip.

    It starts with the largest face and continues with the face that overlaps the last one most. Boxes of frames in
    between, or in which it is not found, are interpolated; the path is smoothed, so that crops do not tremble.

    Args:
        frames: uint8 [T, H, W, 3] RGB.
        detector: Finds the faces.
        every: Look for it in every n-th frame and in the last.

    Returns:
        float64 [T, 4]: left, top, width, height; None where no frame shows a face.
    """
    known: dict[int, np.ndarray] = {}
    for place in sorted({*range(0, len(frames), every), len(frames) - 1}):
        boxes = [np.array(face.box) for face in detector.find(frames[place])]
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
