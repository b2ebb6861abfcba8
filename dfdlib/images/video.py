"""Frames of a video, spread over all of it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dfdlib.core.errors import ImageError
from dfdlib.core.faces import Faces
from dfdlib.images.decode import IMAGE_SUFFIXES, MAX_PIXELS, read_image
from dfdlib.images.faces import cut_square, follow_face, square_around

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".avi",
        ".mov",
        ".mkv",
        ".webm",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".dv",
        ".mxf",
        ".ts",
        ".mts",
        ".m2ts",
        ".3gp",
        ".ogv",
    ]
)
_BROKEN_OFF = 0.9
"""A video that ends before this part of the frames that its header states is called cut off."""


class Frames(NamedTuple):
    """Frames of a video."""

    images: list[np.ndarray]
    """T images, uint8 [H, W, 3], RGB, upright; those of a folder and crops of faces may differ in size."""
    seconds: list[float]
    """T times from the start of the video; of a folder of frames, their numbers."""


def read_frames(path: str | Path, n_frames: int, max_pixels: int = MAX_PIXELS) -> Frames:
    """Read frames of a video or of a folder of frames, spread evenly from its first to its last one.

    Pixels are those that FFmpeg decodes, through PyAV: of interlaced films both fields of each frame, and pixels that
    are not square as they are stored. A video that is cut off is read as far as it goes, with a warning.

    Args:
        path: A video file, or a folder of images.
        n_frames: How many; frames of a shorter video are repeated.
        max_pixels: Frames above this are refused.

    Raises:
        ImageError: The video is missing, empty or damaged, of a codec that cannot be decoded here, or its frames are
            too large.
    """
    path = Path(path)
    if path.is_dir():
        return _frames_of_folder(path, n_frames, max_pixels)
    if not path.is_file():
        raise ImageError(f"{path} does not exist.")
    if not path.stat().st_size:
        raise ImageError(f"{path} is empty.")
    frames = _spread(path, n_frames, _stated_count(path, max_pixels))
    if frames is None:  # the header is wrong, or the video is cut off: count what is there
        times = [float(frame.time or 0.0) for frame in _decoded(path)]
        seconds = _stated_seconds(path)
        if times and times[-1] - times[0] < _BROKEN_OFF * (seconds - 1):
            warnings.warn(f"{path} breaks off after {times[-1]:.1f} of {seconds:.1f} seconds.", stacklevel=2)
        frames = _spread(path, n_frames, len(times))
    if frames is None:
        raise ImageError(f"{path} holds no frame that can be decoded; it is damaged or no video.")
    return frames


def read_subject(path: str | Path, n_frames: int, faces: Faces | None = None) -> Frames:
    """Read frames of a video, cropped to the main face where that is asked for.

    Args:
        path: A video file, or a folder of images.
        n_frames: How many, see `read_frames`.
        faces: How the main face is cropped, which is followed over the frames.

    Raises:
        ImageError: See `read_frames`; or no face is found, and such videos are refused.
    """
    frames = read_frames(path, n_frames)
    if faces is None:
        return frames
    boxes = follow_face(frames.images, faces, every=max(1, n_frames // 8))
    if boxes is None:
        if faces.missing == "refuse":
            raise ImageError(f"{path} shows no face that can be found.")
        return frames
    pairs = zip(frames.images, boxes, strict=True)
    return frames._replace(
        images=[cut_square(frame, square_around(box, faces.margin)) for frame, box in pairs]
    )


def _spread(path: Path, n_frames: int, total: int) -> Frames | None:
    """Read frames spread over the first `total` ones; None where there are none or the video ends earlier."""
    wanted = np.linspace(0, total - 1, n_frames).round().astype(int).tolist()
    frames, convert = Frames([], []), _Converter()
    for place, frame in enumerate(_decoded(path)) if total else ():
        if n := wanted.count(place):
            frames.images.extend([convert(frame)] * n)
            frames.seconds.extend([float(frame.time or 0.0)] * n)
        if place == wanted[-1]:
            return frames
    return None


def _stated_count(path: Path, max_pixels: int) -> int:
    """Return the number of frames that the header states, or else of packets; refuse frames that are too large."""
    import av

    with _opened(path) as (container, stream):
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > max_pixels:
            raise ImageError(
                f"{path} has frames of {width} × {height} pixels, more than {max_pixels:,}; reduce it."
            )
        with suppress(av.FFmpegError):
            return stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
        return 0


def _stated_seconds(path: Path) -> float:
    """Return the length that the header states, or 0."""
    with _opened(path) as (container, stream):
        if stream.duration:
            return float(stream.duration * stream.time_base)
        return (container.duration or 0) / 1e6


def _decoded(path: Path) -> Iterator[Any]:
    """Yield the frames of a video until its end, or until one is damaged."""
    import av

    sound = False
    with _opened(path) as (container, stream), suppress(av.FFmpegError):
        for frame in container.decode(stream):
            if sound and frame.is_corrupt:
                return
            if sound := sound or not frame.is_corrupt:
                yield frame


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video: its container and its video stream, decoded by one thread so that damage always looks the same."""
    import av

    # From 19 on PyAV reads metadata of any encoding by itself.
    lenient = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
    try:
        container = av.open(str(path), **lenient)
    except av.FFmpegError as error:
        raise ImageError(
            f"{path} cannot be opened as a video ({error.strerror}); it is damaged, or of a kind not known here."
        ) from error
    with container:
        stream = container.streams.best("video")
        if stream is None:
            raise ImageError(
                f"{path} holds no video stream that can be decoded here; convert it to H.264 or VP9."
            )
        stream.codec_context.thread_count = 1
        yield container, stream


class _Converter:
    """Turns the frames of a video into upright RGB images, by FFmpeg's own filter for it.

    PyAV's `to_ndarray` mixes up the colours of the fields of interlaced frames, and rounds those of 10 bits.
    """

    def __init__(self) -> None:
        self._graph, self._format = None, None

    def __call__(self, frame: Any) -> np.ndarray:
        """Return uint8 [H, W, 3], turned and mirrored as the display matrix of the frame says."""
        form = (frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_range)
        if form != self._format:
            self._graph, self._format = _conversion(frame), form
        self._graph.push(frame)
        image = self._graph.pull().to_ndarray()
        if matrix := frame.side_data.get("DISPLAYMATRIX"):
            a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
            if abs(b) > abs(a):
                image, a, d = image.transpose(1, 0, 2), c, b
            image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
        return np.ascontiguousarray(image)


def _conversion(frame: Any) -> Any:
    """Return a filter graph that turns frames like this one into RGB."""
    import av.filter

    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    graph.link_nodes(
        source, graph.add("scale"), graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")
    ).configure()
    return graph


def _frames_of_folder(path: Path, n_frames: int, max_pixels: int) -> Frames:
    files = sorted((file for file in path.iterdir() if is_image_name(file.name)), key=natural_order)
    if not files:
        raise ImageError(f"{path} holds no image; a folder of frames needs some.")
    places = np.linspace(0, len(files) - 1, n_frames).round().astype(int).tolist()
    read = {place: read_image(files[place], max_pixels) for place in sorted(set(places))}
    return Frames([read[place] for place in places], [float(place) for place in places])


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image; hidden files do not."""
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def natural_order(file: Path) -> list[tuple[int, str]]:
    """Sort key that puts `frame_2` before `frame_10`."""
    return [(int(part or 0), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]
