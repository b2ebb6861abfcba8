"""Videos: which ones a folder holds, and frames of one, spread over all of it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # damage is reported by our errors, not by FFmpeg's

import cv2

from .errors import DfdError
from .faces import FaceDetector, crop_face, follow_face
from .imageio import IMAGE_SUFFIXES, MAX_PIXELS, ImageError, read_image
from .layouts import LABEL_WORDS, SPLIT_WORDS, read_places

VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv"))

_LONGEST = 10_000_000
"""Frames; a header that states more is not believed."""

_IDS = re.compile(r"(\d+)(?:_(\d+))?(?:__.*)?")


def scan_videos(root: str | Path) -> pd.DataFrame:
    """Make a manifest of a folder of videos, a row a video.

    A folder that holds nothing but images counts as one video, its images in natural order as the frames.
    What the folders mean is read as for images (`layouts.read_places`). In FaceForensics++'s tree a
    manipulated video, such as `000_003.mp4`, is in one group with its sources `000` and `003`.

    Returns:
        The manifest, see `manifest.scan`; `path` is a file or a folder.

    Raises:
        DfdError: No such folder, or no video in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise DfdError(f"the data folder {root} does not exist; pass the folder that holds the videos.")
    paths = _find(root)
    if not paths:
        raise DfdError(
            f"{root} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}) and no folder of frames."
        )
    places = read_places([PurePosixPath(path).parts[:-1] for path in paths], {})
    manifest = pd.DataFrame(
        {
            "path": paths,
            "label": [place.label for place in places],
            "category": [place.category for place in places],
            "split": [place.split for place in places],
            "group": [place.group or path for place, path in zip(places, paths, strict=True)],
            "generator": [place.generator for place in places],
        },
        dtype=object,
    )
    if any("manipulated_sequences" in PurePosixPath(path).parts for path in paths):
        manifest["group"] = _sources(paths)
    manifest.attrs["root"] = str(root)
    return manifest


def video_files(root: str | Path) -> list[Path]:
    """Return the video files below a folder, in natural order; hidden ones are left out."""
    found = [
        file for file in Path(root).rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()
    ]
    shown = [file for file in found if not any(part.startswith(".") for part in file.relative_to(root).parts)]
    return sorted(shown, key=_natural)


def has_videos(root: str | Path) -> bool:
    """Say whether a folder holds videos or folders of frames."""
    return Path(root).is_dir() and bool(_find(Path(root)))


def read_frames(path: str | Path, n_frames: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read frames of a video or of a folder of frames, spread evenly from its first to its last one.

    Args:
        path: A video file, or a folder of images.
        n_frames: How many; a shorter video repeats frames.
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


def read_subject(path: str | Path, n_frames: int, faces: FaceDetector | None = None) -> list[np.ndarray]:
    """Read frames of a video, cropped to the main face where a detector of faces is given.

    Args:
        path: A video file, or a folder of images.
        n_frames: How many, see `read_frames`.
        faces: Finds the face, which is followed over the frames.

    Returns:
        T images, uint8 [H, W, 3]; crops differ in size.

    Raises:
        ImageError: See `read_frames`; or no face is found.
    """
    frames = read_frames(path, n_frames)
    if faces is None:
        return list(frames)
    boxes = follow_face(frames, faces, every=max(1, n_frames // 8))
    if boxes is None:
        raise ImageError(f"{path} shows no face that can be found.")
    return [crop_face(frame, box) for frame, box in zip(frames, boxes, strict=True)]


def _spread(path: Path, n_frames: int, total: int) -> list[np.ndarray]:
    """Read frames spread over the first `total` ones; fewer where the video ends before."""
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
    """Return the number of frames that the header states, after a look at their size."""
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
    files = sorted((file for file in path.iterdir() if _is_image(file.name)), key=_natural)
    if not files:
        raise ImageError(f"{path} holds no image; a folder of frames needs some.")
    places = np.linspace(0, len(files) - 1, n_frames).round().astype(int)
    read = {place: read_image(files[place], max_pixels) for place in sorted(set(places.tolist()))}
    if len({frame.shape for frame in read.values()}) > 1:
        raise ImageError(f"{path} holds frames of different sizes; they are not of one video.")
    return np.stack([read[place] for place in places.tolist()])


def _find(root: Path) -> list[str]:
    """Return the videos and the folders of frames below the root, as sorted posix paths."""
    found = []
    for folder, names, entries in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        below = PurePosixPath(os.path.relpath(folder, root).replace(os.sep, "/"))
        shown = [entry for entry in entries if not entry.startswith(".")]
        found += [str(below / entry) for entry in shown if Path(entry).suffix.lower() in VIDEO_SUFFIXES]
        word = below.name.lower()
        is_clip = below.name and word not in LABEL_WORDS and word not in SPLIT_WORDS
        if is_clip and not names and shown and all(map(_is_image, shown)):
            found.append(str(below))
    return sorted(found)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def _natural(file: Path) -> list[tuple[int, str]]:
    """Sort `frame_2` before `frame_10`."""
    return [(int(part or 0), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _sources(paths: list[str]) -> list[str]:
    """Return a group for each video of FaceForensics++: all that share a source, at first or second hand."""
    ids = []
    for path in paths:
        match = _IDS.fullmatch(PurePosixPath(path).stem)
        ids.append([part for part in match.groups() if part] if match else [path])
    names = sorted({name for pair in ids for name in pair})
    place = {name: i for i, name in enumerate(names)}
    links = [(place[pair[0]], place[pair[-1]]) for pair in ids]
    rows, columns = zip(*links, strict=True)
    graph = coo_array((np.ones(len(links)), (rows, columns)), (len(names), len(names)))
    component = connected_components(graph, directed=False)[1]
    first: dict[int, str] = {}
    for name, number in zip(names, component, strict=True):
        first.setdefault(int(number), name)
    return [f"source_{first[int(component[place[pair[0]]])]}" for pair in ids]
