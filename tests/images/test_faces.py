"""Faces: cropped where they are, followed over frames."""

import cv2
import numpy as np
import pytest

from dfdlib import DfdError
from dfdlib.images.faces import Face, FaceDetector, crop_face, follow_face


class Script:
    """Finds what it is told, frame by frame: the frame's first pixel is its number."""

    def __init__(self, boxes):
        self.boxes = boxes

    def find(self, image):
        return [Face(box, 1.0) for box in self.boxes[int(image[0, 0, 0])]]


def frames(n):
    return np.stack([np.full((50, 60, 3), i, np.uint8) for i in range(n)])


def test_a_crop_is_square_around_the_face():
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 45:55] = 255
    crop = crop_face(image, (45, 40, 10, 20), margin=0.5)
    assert crop.shape == (40, 40, 3)
    assert (crop[10:30, 15:25] == 255).all()
    assert crop.sum() == image.sum()


def test_a_crop_over_the_border_mirrors_the_image():
    image = np.arange(30, dtype=np.uint8)[None, :, None] * np.ones((30, 1, 3), np.uint8)
    crop = crop_face(image, (0, 10, 10, 10), margin=0.5)
    assert crop.shape == (20, 20, 3)
    assert list(crop[5, :7, 0]) == [5, 4, 3, 2, 1, 0, 1]


def test_a_face_is_followed_through_gaps_and_past_others():
    other = (40.0, 5.0, 18.0, 18.0)
    boxes = [[(0.0 + 2 * i, 10.0, 16.0, 16.0)] if i != 2 else [] for i in range(6)]
    boxes[3].insert(0, other)  # larger, but elsewhere
    path = follow_face(frames(6), Script(boxes))
    assert path.shape == (6, 4)
    assert path[1:5, 0] == pytest.approx([2, 4, 6, 8])
    assert (path[:, 1:] == [10, 16, 16]).all()


def test_few_looks_are_joined_by_lines():
    boxes = [[(2.0 * i, 10.0, 16.0, 16.0)] for i in range(9)]
    path = follow_face(frames(9), Script(boxes), every=4)
    assert path[1:-1, 0] == pytest.approx([2.0 * i for i in range(1, 8)])


def test_no_face_at_all():
    assert follow_face(frames(3), Script([[], [], []])) is None


def test_what_is_no_detector_is_refused(tmp_path):
    with pytest.raises(DfdError, match="no face detector at"):
        FaceDetector(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    with pytest.raises(DfdError, match="cannot be loaded as YuNet"):
        FaceDetector(tmp_path / "bad.onnx")


def test_without_a_model_the_cascade_or_the_reason():
    if hasattr(cv2, "CascadeClassifier"):
        assert FaceDetector().find(np.zeros((80, 80, 3), np.uint8)) == []
    else:
        with pytest.raises(DfdError, match="carries no face cascade"):
            FaceDetector()
