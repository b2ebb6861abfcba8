"""How much compression, blur, resizing, noise, cropping and re-posting cost a detector.

A detector that learned the traces of a file format or of a resize fails as soon as images are shared (Wang et al.
2020, CNNDetection, arXiv:1912.11035). Every image is degraded at its own size, before it is fitted to the detector's,
as happens to images on the web.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dfdlib.core.errors import DfdError, ImageError
from dfdlib.core.faces import Faces
from dfdlib.core.native import Part
from dfdlib.core.parallel import read_ahead
from dfdlib.core.progress import Progress
from dfdlib.data.manifest import files_of, subsample
from dfdlib.evaluation.bootstrap import bootstrap_metrics, check_resampling, with_ends
from dfdlib.evaluation.tables import predictions_table
from dfdlib.images.degrade import DEGRADATIONS, Degradation
from dfdlib.images.faces import cut_square
from dfdlib.images.picture import fit_views, read_picture
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.forward import judge, pooled

MEASURED = ("auc", "balanced_accuracy")
"""The metrics of a robustness table, each with an interval; the second at the detector's own threshold."""
_BYTES_AT_ONCE = 128 * 2**20
"""Of the versions that are judged together; as many may wait to be judged."""
_MOST_AT_ONCE = 64
"""Images whose versions are judged together at most."""


@dataclass(frozen=True)
class Step:
    """One point of a robustness curve."""

    degradation: str
    """Key of the degradations."""
    level: float
    """What is given to `Degradation.apply`; NaN for unmodified images where no level means that."""
    unit: str
    """What the level means."""
    degraded: bool
    """False for the unmodified images."""


def steps_of(degradations: Mapping[str, Degradation] = DEGRADATIONS) -> list[Step]:
    """Return the points of every curve: the unmodified images first, then each level.

    Raises:
        DfdError: No degradation, or one without a level.
    """
    if not degradations:
        raise DfdError("there is no degradation to measure; name at least one.")
    steps = []
    for name, degradation in degradations.items():
        if not degradation.levels:
            raise DfdError(f"the degradation `{name}` has no level; give it some.")
        steps.append(Step(name, float(degradation.unmodified), degradation.unit, False))
        steps += [Step(name, float(level), degradation.unit, True) for level in degradation.levels]
    return steps


def measure_robustness(
    detectors: Mapping[str, Detector],
    table: pd.DataFrame,
    degradations: Mapping[str, Degradation] = DEGRADATIONS,
    resamples: int = 200,
    seed: int = 0,
    max_images: int = 0,
) -> pd.DataFrame:
    """Judge detectors on increasingly degraded images.

    Every resample draws the same groups at every level. A paired comparison shows more precisely whether a level costs
    anything: give two tables of `predict_degraded` to `comparison.paired_bootstrap`.

    Args:
        detectors: Detectors of single images, by the names that figures show.
        table: A manifest of images that no detector was trained on. Those without a label are left out.
        degradations: By name, see `degrade.DEGRADATIONS`.
        resamples: Bootstrap samples of the groups for each interval.
        seed: Draws the resamples, and the images where there are more than `max_images`. The noise of an image
            depends on the image alone.
        max_images: Judge at most this many images, see `manifest.subsample`; 0 for all.

    Returns:
        One row per detector and point, in the order of `steps_of`: `detector`, `degradation`, `level`, `unit`,
        `degraded` (False for the first point of each curve, the unmodified images), `n` (images), `n_groups`,
        and `auc` and `balanced_accuracy` (0 to 1, NaN where a class is missing) with the ends of their 95 %
        intervals, `…_low` and `…_high`.

    Raises:
        DfdError: See `predict_degraded`; or no resamples.
    """
    check_resampling(resamples, 0.95)
    rows, judged = [], {}
    for name, step, predictions in predict_degraded(detectors, table, degradations, seed, max_images):
        key = name, step if step.degraded else None
        if key not in judged:
            judged[key] = bootstrap_metrics(predictions, MEASURED, resamples, seed=seed)
        counts = judged[key][["n", "n_groups"]].iloc[0].astype(int).to_dict()
        rows.append({"detector": name, **vars(step), **counts, **with_ends(judged[key])})
    return pd.DataFrame(rows)


def predict_degraded(
    detectors: Mapping[str, Detector],
    table: pd.DataFrame,
    degradations: Mapping[str, Degradation] = DEGRADATIONS,
    seed: int = 0,
    max_images: int = 0,
    workers: int = 0,
) -> Iterator[tuple[str, Step, pd.DataFrame]]:
    """Yield the predictions of each detector at each point of the curves, see `steps_of`.

    Every file is decoded once and every degradation applied once, whatever the number of detectors; only the
    fitted pixels are kept, for a few images at a time. Images that cannot be read are left out with a warning.

    Args:
        detectors: See `measure_robustness`.
        table: See `measure_robustness`.
        degradations: See `measure_robustness`.
        seed: Draws the images where there are more than `max_images`.
        max_images: See `measure_robustness`.
        workers: Threads that decode and degrade; 0 for one per core.

    Yields:
        Name of the detector, the point, and the predictions table (see `tables.predictions_table`) of the
        labelled images that can be read.

    Raises:
        DfdError: No detector or one of clips, no degradation, one that makes something other than uint8
            [H, W, 3], no labelled image, or none that can be read.
    """
    check_detectors(detectors)
    steps = steps_of(degradations)
    known = subsample(table[table["label"].notna()], max_images, seed).reset_index(drop=True)
    if known.empty:
        raise DfdError("robustness needs labelled images, and this table has none.")
    applied = [(degradations[step.degradation], step.level) for step in steps if step.degraded]
    logits, errors = _judge_versions(detectors, known, applied, workers)
    if errors:
        first = next(iter(errors.values()))
        if len(errors) == len(known):
            raise DfdError(f"none of the {len(known)} images can be read, e.g. {first}")
        left_out = f"{len(errors)} of {len(known)} images cannot be read and are left out, e.g. {first}"
        warnings.warn(left_out, stacklevel=2)
    readable = [row for row in range(len(known)) if row not in errors]
    known = known.iloc[readable].reset_index(drop=True)
    for name, detector in detectors.items():
        degraded = iter(logits[name][1:])
        for step in steps:
            fake = next(degraded) if step.degraded else logits[name][0]
            yield name, step, predictions_table(detector, known, fake[readable], None)


def check_detectors(detectors: Mapping[str, Detector]) -> None:
    """Raise `DfdError` where there is no detector, or one of clips."""
    if not detectors:
        raise DfdError("there is no detector to judge; name at least one.")
    for name, detector in detectors.items():
        if detector.n_frames:
            raise DfdError(
                f"the detector `{name}` looks at clips; only those of single images are judged here."
            )


def _judge_versions(
    detectors: Mapping[str, Detector],
    table: pd.DataFrame,
    applied: Sequence[tuple[Degradation, float]],
    workers: int,
) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """Return the fake logits of each detector, float32 [1 + len(applied), N], and why rows cannot be read.

    Logits 0 are of the unmodified images; those of rows that cannot be read are NaN.
    """
    files, fits = files_of(table), sorted({detector.fit for detector in detectors.values()}, key=str)
    shape = 1 + len(applied), len(table)
    logits = {name: np.full(shape, np.nan, np.float32) for name in detectors}
    errors: dict[int, str] = {}
    most = {detector.fit: detector.most_views for detector in detectors.values()}
    bytes_of_one = shape[0] * sum(3 * size**2 * n for (size, *_), n in most.items())
    n_at_once = int(np.clip(_BYTES_AT_ONCE // bytes_of_one, 1, _MOST_AT_ONCE))
    quick = {name: folded(detector, shape[0] * len(table)) for name, detector in detectors.items()}

    made = read_ahead(lambda file: _versions(file, applied, fits), files, workers, n_at_once)
    few = len(table) < 200
    progress = iter(Progress(made, "degrading", len(table), leave=False, unit="image", disable=few))
    for start in range(0, len(table), n_at_once):
        found = dict(enumerate(islice(progress, n_at_once), start))
        errors |= {row: one for row, one in found.items() if isinstance(one, str)}
        images = {row: one for row, one in found.items() if row not in errors}
        for name, detector in quick.items() if images else ():
            for version, views in enumerate(
                zip(*(one[detector.fit] for one in images.values()), strict=True)
            ):
                judged = judge(detector, torch.from_numpy(np.concatenate(views)).movedim(-1, -3))
                logits[name][version, list(images)] = pooled(
                    judged, [len(one) for one in views], detector.top
                ).fake.numpy()
    return logits, errors


def _versions(
    path: Path, applied: Sequence[tuple[Degradation, float]], fits: Sequence[tuple[int, str, Part]]
) -> dict[tuple[int, str, Part], list[np.ndarray]] | str:
    """Return what is seen of the image and of its degraded versions, 1 + len(applied) of uint8 [K, S, S, 3], by fit.

    Where the file cannot be read, return why. The unmodified image is fitted as by `predict`, large JPEGs from a part
    of their size; degraded ones are fitted from the whole image. Faces are found in the unmodified image.
    """
    try:
        picture = read_picture(path)
        seen = {fit: [picture.views(*fit)[: 1 if isinstance(fit[2], Faces) else None]] for fit in fits}
        images = {part: cut_square(picture.pixels, picture.squares(part)[0]) for *_, part in fits}
    except ImageError as error:
        return str(error)
    for (degradation, level), part in product(applied, images):
        degraded = degradation.apply(images[part], level)
        if degraded.dtype != np.uint8 or degraded.ndim != 3 or degraded.shape[2] != 3:
            raise DfdError(
                f"the degradation in `{degradation.unit}` makes {degraded.dtype} {degraded.shape} of an image; "
                "it must return uint8 [H, W, 3]."
            )
        for fit in fits:
            if fit[2] == part:
                seen[fit].append(fit_views(degraded, *fit))
    return seen
