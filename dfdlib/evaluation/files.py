"""Predictions of any number of image and video files, at constant memory, into a CSV that an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from dfdlib.core.errors import DfdError, ImageError
from dfdlib.core.files import ODD_NAMES, WriteError, write_json
from dfdlib.core.native import Part
from dfdlib.core.parallel import read_ahead
from dfdlib.core.paths import remedy
from dfdlib.core.progress import Progress
from dfdlib.data.manifest import files_of, fingerprint
from dfdlib.evaluation.predictions import DecodedRows, judge_rows
from dfdlib.evaluation.tables import public_table
from dfdlib.images.faces import Square
from dfdlib.images.picture import Picture, fit_views, read_picture, say_judged
from dfdlib.images.video import VIDEO_SUFFIXES, read_subject
from dfdlib.models.checkpoint import checksum
from dfdlib.models.decision import CANT_TELL
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.forward import check_views

Source = Path | Picture | np.ndarray
"""An image or video file, an image file in memory, or pixels, uint8 [H, W, 3], which are judged as a whole."""


class Decoded(NamedTuple):
    """What detectors see of a source."""

    views: dict[tuple[int, str, Part], np.ndarray]
    """By `Detector.fit`, uint8 [T, S, S, 3]: the frames of a video, or of an image its faces or tiles."""
    squares: list[Square | None]
    """Of the faces, see `Picture.squares`; [None] for a video."""
    judged: str
    """Which part that is, in words."""


@dataclass
class PredictedFiles:
    """What a run over files came to."""

    csv: Path
    """The table: one row per file, in the order of the manifest."""
    n: int
    """Files in all."""
    n_resumed: int
    """Files that an interrupted run had judged already."""
    unreadable: list[str]
    """Why files could not be read, one error each, of this run."""
    verdicts: dict[str, int]
    """How many files have which verdict: `fake`, `real`, `can't tell` and, where there are some, `unreadable`."""


def judge_files(
    detectors: Sequence[Detector],
    rows: pd.DataFrame,
    sources: Sequence[Source] | None = None,
    tta: Sequence[str] = (),
    threshold: float | None = None,
    batch_size: int = 32,
    workers: int = 0,
    n_frames: int = 32,
) -> Iterator[pd.DataFrame]:
    """Judge images and videos, decoded by threads a few batches ahead.

    A detector for images judges frames of a video, whose logits are averaged; one for clips judges as many
    frames as it was trained on, spread over the video. A detector that crops to faces judges the main face of a video,
    and of an image the largest or all: the image is as fake as the face whose `p_fake` is highest.

    Args:
        detectors: One detector or an ensemble, see `tables.combined`; each gets its own image size.
        rows: One row per source, such as a manifest; labels are carried along and not needed.
        sources: What to judge; the files of the manifest when not given.
        tta: Views, see `forward.VIEWS`.
        threshold: Called fake from this `p_fake` on, without a band; the detectors' own when not given.
        batch_size: Sources per forward pass.
        workers: Threads that decode; 0 for one per core.
        n_frames: Frames of a video that detectors for images judge.

    Yields:
        The predictions table of each batch with the columns `judged`, which part of a source was judged, such as `the
        middle square`, and `error`, which is empty or says why a source could not be read; such a row has no
        prediction. Where a detector crops to faces, `faces` lists those of an image:
        `square` (left, top and side in pixels), `p_fake` and `verdict`.

    Raises:
        DfdError: Detectors that do not fit together, or an unknown view.
    """
    check_views(tta)
    n_frames = _frames_to_read(detectors, n_frames)
    sources = files_of(rows) if sources is None else sources
    batch_size = max(1, batch_size // max(detector.most_views for detector in detectors))
    read = partial(_read, detectors, n_frames)
    decoded = read_ahead(read, sources, workers, ahead=4 * batch_size)
    for start in range(0, len(rows), batch_size):
        part = rows.iloc[start : start + batch_size].reset_index(drop=True)
        found = list(islice(decoded, len(part)))
        errors = [one if isinstance(one, str) else "" for one in found]
        readable = np.flatnonzero([not error for error in errors])
        table = part.assign(p_fake=np.nan, predicted="", verdict="", faces=[[] for _ in found])
        if len(readable):
            known = [found[i] for i in readable]
            places = np.repeat(readable, [len(one.squares) for one in known])  # one per face
            batch = _stacked(detectors, part.iloc[places], known)
            judged = _with_faces(next(judge_rows(detectors, [batch], tta, threshold)), places, known)
            table = judged.reindex(part.index).combine_first(table)[judged.columns]
        elif detectors[0].categories:
            table = table.assign(predicted_category="", category_confidence=np.nan)
        judged = ["" if isinstance(one, str) else one.judged for one in found]
        table = table if detectors[0].faces else table.drop(columns="faces")
        yield table.assign(judged=judged, error=errors)


def predict_files(
    detectors: Sequence[Detector], manifest: pd.DataFrame, csv: str | Path, **settings: object
) -> PredictedFiles:
    """Judge the images and videos of a manifest and write a row for each as it goes.

    The rows go to `<csv>.partial` and become the CSV at the end; an interrupted run with the same detectors,
    files and views resumes there.

    Args:
        detectors: See `judge_files`.
        manifest: The files.
        csv: Where the table goes: the columns of `tables.public_table`, and `error`, see `judge_files`.
        settings: Further arguments of `judge_files`.

    Raises:
        DfdError: See `judge_files`; or a CSV that cannot be written.
    """
    check_views(settings.get("tta", ()))
    manifest, csv = manifest.reset_index(drop=True), Path(csv)
    unfinished, notes = csv.with_name(csv.name + ".partial"), csv.with_name(csv.name + ".partial.json")
    identity = _identity(detectors, manifest, settings)
    done, unreadable = _resumable(unfinished, notes, identity), []
    write_json(notes, identity)
    quick = [folded(detector, len(manifest) - done) for detector in detectors]
    bar = Progress(desc="judging", total=len(manifest), initial=done, unit="file")
    try:
        with unfinished.open("a", newline="", encoding="utf-8", errors=ODD_NAMES) as stream, bar:
            for table in judge_files(quick, manifest.iloc[done:], **settings):
                rows = public_table(table).assign(error=table["error"])
                rows.to_csv(stream, index=False, header=stream.tell() == 0, lineterminator="\n")
                stream.flush()
                unreadable += [error for error in table["error"] if error]
                bar.update(len(table))
        unfinished.replace(csv)
        notes.unlink()
    except OSError as error:
        raise WriteError(
            f"cannot write {csv}: {error.strerror or error}; a run with the same settings resumes.{remedy(csv)}"
        ) from error
    written = pd.read_csv(csv, usecols=["verdict"], dtype=object)["verdict"]
    verdicts = written.fillna("unreadable").str.partition(":")[0]
    counts = dict.fromkeys(("fake", "real", CANT_TELL), 0) | verdicts.value_counts().to_dict()
    return PredictedFiles(csv, len(manifest), done, unreadable, counts)


def frame_scores(
    detectors: Sequence[Detector],
    path: str | Path,
    n_frames: int = 32,
    tta: Sequence[str] = (),
    threshold: float | None = None,
) -> pd.DataFrame:
    """Judge the frames of one video by detectors for images.

    Args:
        detectors: One detector or an ensemble, see `tables.combined`.
        path: The video.
        n_frames: How many frames, spread over it.
        tta: Views, see `forward.VIEWS`.
        threshold: See `predictions.judge_rows`.

    Returns:
        A predictions table with `video`, `frame` and `seconds`, see `plots.timeline` and `tables.video_level`.

    Raises:
        DfdError: The video cannot be read, or a detector for clips, which sees no single frame.
    """
    if any(detector.n_frames for detector in detectors):
        raise DfdError("a detector for clips gives one verdict on a video, not one per frame.")
    _frames_to_read(detectors, n_frames)
    name, frames = Path(path).name, read_subject(path, n_frames, detectors[0].faces)
    about = {"path": [f"{name}#{i}" for i in range(n_frames)], "label": None, "category": None}
    rows = pd.DataFrame(about).assign(video=name, frame=range(n_frames), seconds=frames.seconds, group=name)
    return pd.concat(judge_files(detectors, rows, frames.images, tta, threshold), ignore_index=True)


def _frames_to_read(detectors: Sequence[Detector], n_frames: int) -> int:
    """Return the frames of a video that the detectors look at."""
    if not detectors:
        raise DfdError("there is no detector to predict with; name at least one.")
    lengths = {detector.n_frames for detector in detectors}
    if len(lengths) > 1:
        raise DfdError("detectors for images and for clips of other lengths cannot judge together.")
    if len({detector.faces for detector in detectors}) > 1:
        raise DfdError("detectors that crop to faces in different ways cannot judge together; pass `faces`.")
    if n_frames < 1:
        raise DfdError(f"`n_frames` is {n_frames}; it must be at least 1.")
    return max(lengths) or n_frames


def _read(detectors: Sequence[Detector], n_frames: int, source: Source) -> Decoded | str:
    """Decode a source at the size of each detector; or say why that cannot be done."""
    fits = list(dict.fromkeys(detector.fit for detector in detectors))
    faces = detectors[0].faces
    try:
        if isinstance(source, Path) and source.suffix.lower() in VIDEO_SUFFIXES:
            frames = read_subject(source, n_frames, faces).images
            judged = "the main face, where one was found" if faces else _said(frames[0], fits)
            judged = f"{judged}, in {len(frames)} frames"
        elif any(detector.n_frames for detector in detectors):
            raise ImageError(f"{source} is no video; this detector judges clips.")
        elif isinstance(source, np.ndarray):
            frames, judged = [source], _said(source, fits)
        else:
            picture = source if isinstance(source, Picture) else read_picture(source)
            views = {fit: picture.views(*fit) for fit in fits}
            said = dict.fromkeys(picture.judged(size, part) for size, _, part in fits)
            return Decoded(views, picture.squares(faces), "; ".join(said))
        views = {fit: np.concatenate([fit_views(frame, *fit) for frame in frames]) for fit in fits}
        return Decoded(views, [None], judged)
    except ImageError as error:
        return str(error)


def _said(image: np.ndarray, fits: Sequence[tuple[int, str, Part]]) -> str:
    """Say which part of pixels is judged."""
    return "; ".join(dict.fromkeys(say_judged(*image.shape[:2], size, part) for size, _, part in fits))


def _stacked(detectors: Sequence[Detector], rows: pd.DataFrame, sources: Sequence[Decoded]) -> DecodedRows:
    """Put several sources together, as the detectors take them; a row is a video, or a face of an image."""
    pixels = {
        fit: torch.from_numpy(np.concatenate([one.views[fit] for one in sources])).permute(0, 3, 1, 2)
        for fit in sources[0].views
    }
    if detectors[0].n_frames:
        pixels = {fit: one.unflatten(0, (len(sources), -1)) for fit, one in pixels.items()}
        return DecodedRows(rows, pixels)
    counts = {
        fit: [len(one.views[fit]) // len(one.squares) for one in sources for _ in one.squares]
        for fit in pixels
    }
    return DecodedRows(rows, pixels, counts)


def _with_faces(judged: pd.DataFrame, places: np.ndarray, sources: Sequence[Decoded]) -> pd.DataFrame:
    """Return of each place the row with the highest `p_fake`, and in `faces` what was said of all."""
    of_each = judged.assign(square=[square for one in sources for square in one.squares]).groupby(places)
    about = ["square", "p_fake", "verdict"]
    said = {place: rows.loc[rows["square"].notna(), about].to_dict("records") for place, rows in of_each}
    return judged.loc[of_each["p_fake"].idxmax()].set_axis(list(said)).assign(faces=pd.Series(said))


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
    detectors: Sequence[Detector], manifest: pd.DataFrame, settings: dict[str, object]
) -> dict[str, object]:
    """Say which run this is: weights, files, and the settings that change what is said of them."""
    digests = [
        checksum([one.kind, one.arguments, one.fit, one.decision, one.network.state_dict()])
        for one in detectors
    ]
    order = hashlib.sha256("\0".join(manifest["path"]).encode(errors="surrogateescape")).hexdigest()
    return {
        "detectors": digests,
        "files": [fingerprint(manifest), order],
        "tta": list(settings.get("tta", ())),
        "threshold": settings.get("threshold"),
        "n_frames": settings.get("n_frames"),
    }
