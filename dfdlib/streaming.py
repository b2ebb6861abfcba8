"""Predictions for any number of files, at constant memory, into a CSV that an interrupted run continues."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from .errors import DfdError
from .files import write_json
from .imageio import ImageError, fit_image, read_image
from .inference import combined, joint_threshold, judge, predictions_table, with_threshold
from .manifest import fingerprint, root_of
from .models import Detector
from .report import public_table
from .tta import check_views

_AHEAD = 4
"""Batches that are decoded while one is judged."""

Decoded = tuple[dict[int, np.ndarray], str]


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
) -> Streamed:
    """Judge the files of a manifest and write a row for each as it goes.

    The rows go to `<csv>.partial` and become the CSV at the end; an interrupted run with the same detectors,
    files and views goes on where it stopped.

    Args:
        detectors: One detector or an ensemble, see `inference.combined`; each gets its own image size.
        manifest: The files; labels are carried along and not needed.
        csv: Where the table goes: the columns of `report.public_table`, and `error`, which is empty or says
            why a file could not be read; it then has no prediction.
        tta: Views, see `tta.VIEWS`.
        threshold: Called fake from this `p_fake` on; the detectors' own when not given.
        batch_size: Files a forward pass.
        workers: Threads that decode; 0 for one a core.

    Raises:
        DfdError: Detectors that do not fit together, an unknown view, or a CSV that cannot be written.
    """
    check_views(tta)
    manifest, csv = manifest.reset_index(drop=True), Path(csv)
    partial, notes = csv.with_name(csv.name + ".partial"), csv.with_name(csv.name + ".partial.json")
    identity = _identity(detectors, manifest, tta, threshold)
    done = _resumable(partial, notes, identity)
    csv.parent.mkdir(parents=True, exist_ok=True)
    write_json(notes, identity)
    unreadable: list[str] = []
    with (
        partial.open("a", newline="", encoding="utf-8") as stream,
        tqdm(
            desc="predicting", total=len(manifest), initial=done, unit="file", disable=len(manifest) < 200
        ) as bar,
    ):
        for start, decoded in _decoded(manifest, done, detectors, batch_size, workers):
            rows = manifest.iloc[start : start + len(decoded)]
            table = _judged(detectors, rows, decoded, tta, threshold)
            table.to_csv(stream, index=False, header=start == 0, lineterminator="\n")
            stream.flush()
            unreadable += [error for _, error in decoded if error]
            bar.update(len(decoded))
    partial.replace(csv)
    notes.unlink()
    n_fake = sum((chunk["prediction"] == "fake").sum() for chunk in pd.read_csv(csv, chunksize=100_000))
    return Streamed(csv, len(manifest), done, unreadable, int(n_fake))


def _judged(
    detectors: Sequence[Detector],
    rows: pd.DataFrame,
    decoded: Sequence[Decoded],
    tta: Sequence[str],
    threshold: float | None,
) -> pd.DataFrame:
    """Return the public rows of one batch; files that could not be read have only their error."""
    blank = rows.assign(p_fake=np.nan, predicted="").reset_index(drop=True)
    if detectors[0].categories:
        blank = blank.assign(predicted_category="", category_confidence=np.nan)
    public = public_table(blank)
    readable = [i for i, (_, error) in enumerate(decoded) if not error]
    if readable:
        tables = []
        for detector in detectors:
            pixels = np.stack([decoded[i][0][detector.image_size] for i in readable])
            logits = judge(detector, torch.from_numpy(pixels).permute(0, 3, 1, 2), tta)
            category = logits.category.numpy() if logits.category is not None else None
            tables.append(predictions_table(detector, rows.iloc[readable], logits.fake.numpy(), category))
        limit = joint_threshold(detectors) if threshold is None else threshold
        table = public_table(with_threshold(combined(detectors, tables), limit)).set_axis(readable)
        public = table.reindex(public.index).combine_first(public)[public.columns]
    return public.assign(error=[error for _, error in decoded])


def _decoded(
    manifest: pd.DataFrame, start: int, detectors: Sequence[Detector], batch_size: int, workers: int
) -> Iterator[tuple[int, list[Decoded]]]:
    """Yield the position of each batch and its decoded images, a few batches ahead of their use."""
    root, sizes = root_of(manifest), sorted({detector.image_size for detector in detectors})

    def decode(path: str) -> Decoded:
        try:
            image = read_image(root / path)
        except ImageError as error:
            return {}, str(error)
        return {size: fit_image(image, size) for size in sizes}, ""

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        waiting = iter(range(start, len(manifest), batch_size))
        queue: list[tuple[int, list[Future[Decoded]]]] = []

        def fill() -> None:
            for place in islice(waiting, _AHEAD - len(queue)):
                paths = manifest["path"].iloc[place : place + batch_size]
                queue.append((place, [pool.submit(decode, path) for path in paths]))

        fill()
        while queue:
            place, futures = queue.pop(0)
            fill()
            yield place, [future.result() for future in futures]


def _resumable(partial: Path, notes: Path, identity: dict[str, object]) -> int:
    """Return how many files an interrupted run of the same kind has judged; cut off its last broken line."""
    if not partial.exists() or not notes.exists() or json.loads(notes.read_text()) != identity:
        partial.unlink(missing_ok=True)
        return 0
    whole = partial.read_bytes().rpartition(b"\n")[0]
    with partial.open("r+b") as stream:
        stream.truncate(len(whole) + 1 if whole else 0)
    return len(pd.read_csv(partial)) if whole else 0


def _identity(
    detectors: Sequence[Detector], manifest: pd.DataFrame, tta: Sequence[str], threshold: float | None
) -> dict[str, object]:
    """Say which run this is: weights, files, views."""
    if not detectors:
        raise DfdError("there is no detector to predict with; name at least one.")
    digests = []
    for detector in detectors:
        digest = hashlib.sha256(repr((detector.name, detector.arguments, detector.threshold)).encode())
        for tensor in detector.network.state_dict().values():
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        digests.append(digest.hexdigest())
    order = hashlib.sha256("\0".join(manifest["path"]).encode(errors="surrogateescape")).hexdigest()
    files = [fingerprint(manifest), order]
    return {"detectors": digests, "files": files, "tta": list(tta), "threshold": threshold}
