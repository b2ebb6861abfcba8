"""Predictions for any number of images and videos, at constant memory, into a CSV that an interrupted run
continues."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from dfdlib.core.errors import DfdError, ImageError
from dfdlib.core.files import WriteError, write_json
from dfdlib.core.paths import remedy
from dfdlib.data.manifest import fingerprint, root_of
from dfdlib.evaluation.tables import (
    combined,
    joint_band,
    joint_threshold,
    predictions_table,
    public_table,
    with_threshold,
)
from dfdlib.images.faces import FaceDetector
from dfdlib.images.picture import fit_image, read_picture
from dfdlib.images.video import VIDEO_SUFFIXES, read_subject
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.forward import check_views, judge

_AHEAD = 4
"""Batches that are decoded while one is judged."""


_FRAMES_AT_ONCE = 64


Decoded = tuple[dict[int, np.ndarray], str]
"""Frames of a file by image size, uint8 [T, S, S, 3] (one of an image); or the reason why there are none."""


@dataclass
class Streamed:
    """What a run over files came to."""

    csv: Path
    """The table: a row a file, in the order of the manifest."""
    n: int
    """Files in all."""
    n_resumed: int
    """Files that an interrupted run had judged already."""
    unreadable: list[str]
    """Why files could not be read, an error each, of this run."""
    n_fake: int
    """Files that were called fake."""


def predict_files(
    detectors: Sequence[Detector],
    manifest: pd.DataFrame,
    csv: str | Path,
    tta: Sequence[str] = (),
    threshold: float | None = None,
    batch_size: int = 32,
    workers: int = 0,
    n_frames: int = 32,
    faces: FaceDetector | None = None,
) -> Streamed:
    """Judge the images and videos of a manifest and write a row for each as it goes.

    A detector for images judges frames of a video, whose logits are averaged; one for clips judges as many
    frames as it was trained on, spread over the video.

    The rows go to `<csv>.partial` and become the CSV at the end; an interrupted run with the same detectors,
    files and views goes on where it stopped.

    Args:
        detectors: One detector or an ensemble, see `tables.combined`; each gets its own image size.
        manifest: The files; labels are carried along and not needed.
        csv: Where the table goes: the columns of `tables.public_table`, and `error`, which is empty or says
            why a file could not be read; it then has no prediction.
        tta: Views, see `forward.VIEWS`.
        threshold: Called fake from this `p_fake` on, without a band; the detectors' own when not given.
        batch_size: Files a forward pass.
        workers: Threads that decode; 0 for one a core.
        n_frames: Frames of a video that detectors for images judge.
        faces: Crop the frames of videos to the main face.

    Raises:
        DfdError: Detectors that do not fit together, an unknown view, or a CSV that cannot be written.
    """
    check_views(tta)
    manifest, csv = manifest.reset_index(drop=True), Path(csv)
    n_frames = _frames_to_read(detectors, n_frames)
    unfinished, notes = csv.with_name(csv.name + ".partial"), csv.with_name(csv.name + ".partial.json")
    identity = _identity(detectors, manifest, tta, threshold)
    identity |= {"n_frames": n_frames, "faces": faces.name if faces else ""}
    read = partial(_read, root_of(manifest), detectors, n_frames, faces)
    done = _resumable(unfinished, notes, identity)
    write_json(notes, identity)
    judged = partial(
        _judged,
        [folded(detector, len(manifest) - done) for detector in detectors],
        tta=tta,
        threshold=threshold,
    )
    batches = _decoded(manifest["path"].iloc[done:], read, batch_size, workers)
    try:
        unreadable = _append(unfinished, manifest, done, batches, judged)
        unfinished.replace(csv)
        notes.unlink()
    except OSError as error:
        raise WriteError(
            f"cannot write {csv}: {error.strerror or error}; a run with the same settings goes on.{remedy(csv)}"
        ) from error
    n_fake = sum((chunk["prediction"] == "fake").sum() for chunk in pd.read_csv(csv, chunksize=100_000))
    return Streamed(csv, len(manifest), done, unreadable, int(n_fake))


def _append(
    file: Path,
    manifest: pd.DataFrame,
    done: int,
    batches: Iterator[tuple[int, list[Decoded]]],
    judged: Callable[[pd.DataFrame, list[Decoded]], pd.DataFrame],
) -> list[str]:
    """Write the rows of each batch as soon as it is judged; return why files could not be read."""
    unreadable: list[str] = []
    bar = tqdm(desc="predicting", total=len(manifest), initial=done, unit="file", disable=len(manifest) < 200)
    with file.open("a", newline="", encoding="utf-8") as stream, bar:
        for place, decoded in batches:
            start = done + place
            table = judged(manifest.iloc[start : start + len(decoded)], decoded)
            table.to_csv(stream, index=False, header=start == 0, lineterminator="\n")
            stream.flush()
            unreadable += [error for _, error in decoded if error]
            bar.update(len(decoded))
    return unreadable


def _judged(
    detectors: Sequence[Detector],
    rows: pd.DataFrame,
    decoded: Sequence[Decoded],
    tta: Sequence[str],
    threshold: float | None,
) -> pd.DataFrame:
    """Return the public rows of one batch; files that could not be read have only their error."""
    blank = rows.assign(p_fake=np.nan, predicted="", verdict="").reset_index(drop=True)
    if detectors[0].categories:
        blank = blank.assign(predicted_category="", category_confidence=np.nan)
    public = public_table(blank)
    readable = [i for i, (_, error) in enumerate(decoded) if not error]
    if readable:
        tables = []
        for detector in detectors:
            fake, category = _logits(detector, [decoded[i][0][detector.image_size] for i in readable], tta)
            tables.append(predictions_table(detector, rows.iloc[readable], fake, category))
        limit, band = joint_threshold(detectors), joint_band(detectors)
        if threshold is not None:
            limit, band = threshold, None
        table = public_table(with_threshold(combined(detectors, tables), limit, band)).set_axis(readable)
        public = table.reindex(public.index).combine_first(public)[public.columns]
    return public.assign(error=[error for _, error in decoded])


def _frames_to_read(detectors: Sequence[Detector], n_frames: int) -> int:
    """Return the frames of a video that the detectors look at."""
    lengths = {detector.n_frames for detector in detectors}
    if len(lengths) > 1:
        raise DfdError("detectors for images and for clips of other lengths cannot judge together.")
    if n_frames < 1:
        raise DfdError(f"`n_frames` is {n_frames}; it must be at least 1.")
    return max(lengths, default=0) or n_frames


def _read(
    root: Path, detectors: Sequence[Detector], n_frames: int, faces: FaceDetector | None, path: str
) -> Decoded:
    """Decode a file at the size of each detector."""
    video = Path(path).suffix.lower() in VIDEO_SUFFIXES
    sizes = {detector.image_size for detector in detectors}
    try:
        if not video and any(detector.n_frames for detector in detectors):
            raise ImageError(f"{root / path} is no video; this detector judges clips.")
        if not video:
            picture = read_picture(root / path)
            return {size: picture.fitted(size)[None] for size in sizes}, ""
        frames = read_subject(root / path, n_frames, faces)
    except ImageError as error:
        return {}, str(error)
    return {size: np.stack([fit_image(frame, size) for frame in frames]) for size in sizes}, ""


def _logits(
    detector: Detector, clips: Sequence[np.ndarray], tta: Sequence[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Judge clips, uint8 [T, S, S, 3] each; return logits [N] and [N, C], frames averaged."""
    frames = torch.from_numpy(np.concatenate(clips)).permute(0, 3, 1, 2)
    if detector.n_frames:
        frames = frames.unflatten(0, (len(clips), detector.n_frames))
        step, ends = max(1, _FRAMES_AT_ONCE // detector.n_frames), np.arange(len(clips))
    else:
        step, ends = _FRAMES_AT_ONCE, np.cumsum([0, *map(len, clips[:-1])])
    parts = [judge(detector, part, tta) for part in frames.split(step)]
    counts = np.diff([*ends, len(frames)])
    fake = np.add.reduceat(torch.cat([part.fake for part in parts]).numpy(), ends) / counts
    if parts[0].category is None:
        return fake, None
    category = np.add.reduceat(torch.cat([part.category for part in parts]).numpy(), ends, axis=0)
    return fake, category / counts[:, None]


def frame_scores(
    detectors: Sequence[Detector],
    path: str | Path,
    n_frames: int = 32,
    faces: FaceDetector | None = None,
    tta: Sequence[str] = (),
) -> pd.DataFrame:
    """Judge the frames of one video by detectors for images.

    Args:
        detectors: One detector or an ensemble, see `tables.combined`.
        path: The video.
        n_frames: How many frames, spread over it.
        faces: Crop the frames to the main face.
        tta: Views, see `forward.VIEWS`.

    Returns:
        A predictions table with `video` and `frame`, see `predictions.timeline` and `metrics.video_level`.

    Raises:
        DfdError: The video cannot be read, or a detector for clips, which sees no single frame.
    """
    if any(detector.n_frames for detector in detectors):
        raise DfdError("a detector for clips gives one verdict on a video, not one a frame.")
    path = Path(path)
    decoded, error = _read(path.parent, detectors, n_frames, faces, path.name)
    if error:
        raise ImageError(error)
    about = {"path": [f"{path.name}#{i}" for i in range(n_frames)], "label": None, "category": None}
    rows = pd.DataFrame(about).assign(video=path.name, frame=range(n_frames), group=path.name)
    tables = []
    for detector in detectors:
        fake, category = _logits(detector, decoded[detector.image_size][:, None], tta)
        tables.append(predictions_table(detector, rows, fake, category))
    return combined(detectors, tables)


def _decoded(
    paths: pd.Series, read: Callable[[str], Decoded], batch_size: int, workers: int
) -> Iterator[tuple[int, list[Decoded]]]:
    """Yield the position of each batch and its decoded files, a few batches ahead of their use."""
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        waiting = iter(range(0, len(paths), batch_size))
        queue: list[tuple[int, list[Future[Decoded]]]] = []

        def fill() -> None:
            for place in islice(waiting, _AHEAD - len(queue)):
                queue.append((place, [pool.submit(read, path) for path in paths[place : place + batch_size]]))

        fill()
        while queue:
            place, futures = queue.pop(0)
            fill()
            yield place, [future.result() for future in futures]


def _resumable(unfinished: Path, notes: Path, identity: dict[str, object]) -> int:
    """Return how many files an interrupted run of the same kind has judged; cut off its last broken line."""
    if not unfinished.exists() or not notes.exists() or json.loads(notes.read_text()) != identity:
        unfinished.unlink(missing_ok=True)
        return 0
    whole = unfinished.read_bytes().rpartition(b"\n")[0]
    with unfinished.open("r+b") as stream:
        stream.truncate(len(whole) + 1 if whole else 0)
    return len(pd.read_csv(unfinished)) if whole else 0


def _identity(
    detectors: Sequence[Detector], manifest: pd.DataFrame, tta: Sequence[str], threshold: float | None
) -> dict[str, object]:
    """Say which run this is: weights, files, views."""
    if not detectors:
        raise DfdError("there is no detector to predict with; name at least one.")
    digests = []
    for detector in detectors:
        digest = hashlib.sha256(
            repr((detector.name, detector.arguments, detector.threshold, detector.band)).encode()
        )
        for tensor in detector.network.state_dict().values():
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        digests.append(digest.hexdigest())
    order = hashlib.sha256("\0".join(manifest["path"]).encode(errors="surrogateescape")).hexdigest()
    files = [fingerprint(manifest), order]
    return {"detectors": digests, "files": files, "tta": list(tta), "threshold": threshold}
