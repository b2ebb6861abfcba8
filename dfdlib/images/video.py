"""Frames of a video, spread over all of it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from dfdlib.core.errors import ImageError
from dfdlib.core.faces import Faces
from dfdlib.images.decode import IMAGE_SUFFIXES, MAX_PIXELS, read_image
from dfdlib.images.faces import cut_square, follow_face, square_around

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # damage is reported by our errors, not by FFmpeg's


VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv"))
_LONGEST = 10_000_000
"""Frames; where a header states more, this many are assumed."""


def read_frames(path: str | Path, n_frames: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read frames of a video or of a folder of frames, spread evenly from its first to its last one.

    Args:
        path: A video file, or a folder of images.
        n_frames: How many; frames of a shorter video are repeated.
        max_pixels: Frames above this are refused.

    Returns:
        uint8 [T, H, W, 3], RGB, upright.

    Raises:
        ImageError: The video is missing, empty or damaged, its frames differ in size, or are too large.
    """
    path = Path(path)
    if path.is_dir():
        return _frames_of_folder(path, n_frames, max_pixels)
    if not path.is_file():
        raise ImageError(f"{path} does not exist.")
    if not path.stat().st_size:
        raise ImageError(f"{path} is empty.")
    frames = _spread(path, n_frames, _stated_count(path, max_pixels))
    if len(frames) != n_frames:  # the header is wrong, or the video is cut off: count what is there
        frames = _spread(path, n_frames, _count(path))
    if len(frames) != n_frames:
        raise ImageError(f"{path} holds no frame that can be decoded; it is damaged or no video.")
    return np.stack(frames)


def read_subject(path: str | Path, n_frames: int, faces: Faces | None = None) -> list[np.ndarray]:
    """Read frames of a video, cropped to the main face where that is asked for.

    Args:
        path: A video file, or a folder of images.
        n_frames: How many, see `read_frames`.
        faces: How the main face is cropped, which is followed over the frames.

    Returns:
        T images, uint8 [H, W, 3]; crops differ in size.

    Raises:
        ImageError: See `read_frames`; or no face is found, and such videos are refused.
    """
    frames = read_frames(path, n_frames)
    boxes = None if faces is None else follow_face(frames, faces, every=max(1, n_frames // 8))
    if boxes is None:
        if faces is not None and faces.missing == "refuse":
            raise ImageError(f"{path} shows no face that can be found.")
        return list(frames)
    pairs = zip(frames, boxes, strict=True)
    return [cut_square(frame, square_around(box, faces.margin)) for frame, box in pairs]


def _spread(path: Path, n_frames: int, total: int) -> list[np.ndarray]:
    """Read frames spread over the first `total` ones; fewer where the video ends earlier."""
    wanted = Counter(np.linspace(0, total - 1, n_frames).round().astype(int).tolist()) if total > 0 else {}
    frames: list[np.ndarray] = []
    with _opened(path) as capture:
        for place in range(max(wanted, default=-1) + 1):
            if not capture.grab():
                break
            if place in wanted:
                done, frame = capture.retrieve()
                if not done:
                    break
                frames += [cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)] * wanted[place]
    return frames


def _stated_count(path: Path, max_pixels: int) -> int:
    """Return the number of frames that the header states; refuse frames that are too large."""
    with _opened(path) as capture:
        if not capture.isOpened():
            raise ImageError(
                f"{path} cannot be opened as a video; it is damaged, or of a kind not known here."
            )
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > max_pixels:
            raise ImageError(
                f"{path} has frames of {width} × {height} pixels, more than {max_pixels:,}; reduce it."
            )
        return int(min(max(capture.get(cv2.CAP_PROP_FRAME_COUNT), 0), _LONGEST))


def _count(path: Path) -> int:
    """Count the frames that can be decoded."""
    with _opened(path) as capture:
        count = 0
        while capture.grab():
            count += 1
        return count


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(str(path))
    try:
        yield capture
    finally:
        capture.release()


def _frames_of_folder(path: Path, n_frames: int, max_pixels: int) -> np.ndarray:
    files = sorted((file for file in path.iterdir() if is_image_name(file.name)), key=natural_order)
    if not files:
        raise ImageError(f"{path} holds no image; a folder of frames needs some.")
    places = np.linspace(0, len(files) - 1, n_frames).round().astype(int)
    read = {place: read_image(files[place], max_pixels) for place in sorted(set(places.tolist()))}
    if len({frame.shape for frame in read.values()}) > 1:
        raise ImageError(f"{path} holds frames of different sizes; they are not of one video.")
    return np.stack([read[place] for place in places.tolist()])


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image; hidden files do not."""
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def natural_order(file: Path) -> list[tuple[int, str]]:
    """Sort key that puts `frame_2` before `frame_10`."""
    return [(int(part or 0), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]
