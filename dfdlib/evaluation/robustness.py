"""How much compression, blur, resizing, noise, cropping and re-posting cost a detector.

A detector that learned the traces of a file format or of a resize fails as soon as images travel (Wang et al.
2020, CNNDetection, arXiv:1912.11035). Every image is degraded as it was decoded, before it is fitted to the
detector's size: that is where it happens outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from dfdlib.core.errors import DfdError, ImageError
from dfdlib.data.manifest import files_of, subsample
from dfdlib.evaluation.bootstrap import bootstrap_metrics, check_resampling, with_ends
from dfdlib.evaluation.tables import predictions_table
from dfdlib.images.degrade import DEGRADATIONS, Degradation
from dfdlib.images.picture import fit_image, read_picture
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.forward import judge

MEASURED = ("auc", "balanced_accuracy")
"""The metrics of a robustness table, each with an interval; the second at the detector's own threshold."""
_CHUNK_BYTES = 128 * 2**20
_LARGEST_CHUNK = 64


@dataclass(frozen=True)
class Step:
    """One point of a robustness curve."""

    degradation: str
    """Key of the degradations."""
    level: float
    """What is given to `Degradation.apply`; NaN where the images are as they are and no level says so."""
    unit: str
    """What the level means."""
    degraded: bool
    """False for the images as they are."""


def steps_of(degradations: Mapping[str, Degradation] = DEGRADATIONS) -> list[Step]:
    """Return the points of every curve; the first of each stands for the images as they are.

    Where the first level leaves every pixel (a blur of 0), that is its level. Where it does not (JPEG of
    quality 100 halves the resolution of colour), the level of the first point is NaN, and the first level is
    a second point.

    Raises:
        DfdError: No degradation, or one without a level.
    """
    if not degradations:
        raise DfdError("there is no degradation to measure; name at least one.")
    steps = []
    for name, degradation in degradations.items():
        if not degradation.levels:
            raise DfdError(f"the degradation `{name}` has no level; give it some.")
        first, *others = degradation.levels
        if not _leaves(degradation, first):
            first, others = np.nan, degradation.levels
        steps.append(Step(name, float(first), degradation.unit, False))
        steps += [Step(name, float(level), degradation.unit, True) for level in others]
    return steps


def measure_robustness(
    detectors: Mapping[str, Detector],
    table: pd.DataFrame,
    degradations: Mapping[str, Degradation] = DEGRADATIONS,
    resamples: int = 200,
    seed: int = 0,
    max_images: int = 0,
) -> pd.DataFrame:
    """Judge detectors on images that suffer more and more.

    Every resample draws the same groups at every level. Whether a level costs anything is seen more sharply in
    pairs: give two tables of `predict_degraded` to `comparison.paired_bootstrap`.

    Args:
        detectors: Detectors of single images, by the names that figures show.
        table: A manifest; take images that nobody trained on. Those without a label are left out.
        degradations: By name, see `degrade.DEGRADATIONS`.
        resamples: Bootstrap samples of the groups for each interval.
        seed: Draws the resamples, and the images where there are more than `max_images`. The noise of an image
            depends on the image alone.
        max_images: At most so many images, see `manifest.subsample`; 0 takes all.

    Returns:
        A row a detector and point, in the order of `steps_of`: `detector`, `degradation`, `level`, `unit`,
        `degraded` (False for the first point of each curve: the images as they are), `n` (images), `n_groups`,
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
    fitted pixels are kept, for a few images at a time.

    Args:
        detectors: See `robustness`.
        table: See `robustness`.
        degradations: See `robustness`.
        seed: Draws the images where there are more than `max_images`.
        max_images: See `robustness`.
        workers: Threads that decode and degrade; 0 for one a core.

    Yields:
        Name of the detector, the point, and the predictions table (see `tables.predictions_table`) of the
        labelled images that can be read. `attrs["unreadable"]` lists why the others cannot.

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
    logits, errors = _logits(detectors, known, applied, workers or os.cpu_count() or 1)
    readable = np.array([not error for error in errors])
    if not readable.any():
        raise DfdError(f"none of the {len(known)} images can be read, e.g. {errors[0]}")
    known = known[readable].reset_index(drop=True)
    known.attrs = {**table.attrs, "unreadable": [error for error in errors if error]}
    for name, detector in detectors.items():
        versions = iter(logits[name][1:])
        for step in steps:
            fake = next(versions) if step.degraded else logits[name][0]
            yield name, step, predictions_table(detector, known, fake[readable], None)


def check_detectors(detectors: Mapping[str, Detector]) -> None:
    """Raise `DfdError` where there is no detector, or one that looks at clips."""
    if not detectors:
        raise DfdError("there is no detector to judge; name at least one.")
    for name, detector in detectors.items():
        if detector.n_frames:
            raise DfdError(
                f"the detector `{name}` looks at clips; only those of single images are judged here."
            )


def _logits(
    detectors: Mapping[str, Detector],
    table: pd.DataFrame,
    applied: Sequence[tuple[Degradation, float]],
    threads: int,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the fake logits of each detector, float32 [1 + len(applied), N], and the error of each file.

    Row 0 is of the images as they are. The error is empty, and the logits are NaN where it is not.
    """
    files, sizes = files_of(table), sorted({detector.image_size for detector in detectors.values()})
    shape = 1 + len(applied), len(table)
    logits = {name: np.full(shape, np.nan, np.float32) for name in detectors}
    errors: list[str] = []
    pixels = shape[0] * sum(3 * size**2 for size in sizes)
    chunk = int(np.clip(_CHUNK_BYTES // pixels, 1, _LARGEST_CHUNK))
    quick = {name: folded(detector, shape[0] * len(table)) for name, detector in detectors.items()}

    def versions(file: Path) -> dict[int, np.ndarray] | str:
        return _versions(file, applied, sizes)

    progress = tqdm(desc="degrading", total=len(table), unit="image", leave=False, disable=len(table) < 200)
    with progress, ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(table), chunk):
            made = list(pool.map(versions, files[start : start + chunk]))
            errors += [one if isinstance(one, str) else "" for one in made]
            places = [start + i for i, one in enumerate(made) if not isinstance(one, str)]
            whole = [one for one in made if not isinstance(one, str)]
            for name, detector in quick.items() if whole else ():
                images = np.stack([one[detector.image_size] for one in whole], axis=1)
                for row, batch in enumerate(torch.from_numpy(images).movedim(-1, -3)):
                    logits[name][row, places] = judge(detector, batch).fake.numpy()
            progress.update(len(made))
    return logits, errors


def _versions(
    path: Path, applied: Sequence[tuple[Degradation, float]], sizes: Sequence[int]
) -> dict[int, np.ndarray] | str:
    """Return the image and its degraded versions fitted to each size S, uint8 [1 + len(applied), S, S, 3].

    A text says why the file cannot be read. The image itself is fitted as `predict` does, large JPEGs from a part of
    their size; degraded ones from the whole.
    """
    try:
        picture = read_picture(path)
        fitted = {size: [picture.fitted(size)] for size in sizes}
        image = picture.pixels
    except ImageError as error:
        return str(error)
    for degradation, level in applied:
        degraded = degradation.apply(image, level)
        if degraded.dtype != np.uint8 or degraded.ndim != 3 or degraded.shape[2] != 3:
            raise DfdError(
                f"the degradation in `{degradation.unit}` makes {degraded.dtype} {degraded.shape} of an image; "
                "it must return uint8 [H, W, 3]."
            )
        for size in sizes:
            fitted[size].append(fit_image(degraded, size))
    return {size: np.stack(images) for size, images in fitted.items()}


def _leaves(degradation: Degradation, level: float) -> bool:
    """Return whether a level leaves every pixel, tried on noise of odd sides."""
    probe = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    return np.array_equal(degradation.apply(probe.copy(), level), probe)
