"""Metrics of the field as pure functions of a predictions table; `fake` is the positive class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from dfdlib.core.errors import DfdError
from dfdlib.data.layouts import LABEL_WORDS, SILENT_WORDS, SPLIT_WORDS
from dfdlib.evaluation import bootstrap
from dfdlib.evaluation.bootstrap import checked, labelled

_ABOUT = ("label", "category", "split", "group", "generator", "source")


_FRAME_NUMBER = re.compile(r"[ _.#-]*(frame|img|image)?[ _.-]*\d+$", re.IGNORECASE)


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a fake scores above a real image; ties count half.

    Args:
        truth: [N], 1 fake, 0 real.
        score: [N], higher means fake.

    Returns:
        0 to 1; NaN where only one class is present.

    Raises:
        DfdError: A score is NaN or infinite, or a label is neither 0 nor 1.
    """
    return float(bootstrap.area(*bootstrap.curves(*checked(truth, score)))[0])


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the precision-recall curve as a step function; NaN where only one class is present."""
    return float(bootstrap.average_precision(*bootstrap.curves(*checked(truth, score)))[0])


def eer(truth: np.ndarray, score: np.ndarray) -> float:
    """Equal error rate: where the ROC curve, interpolated, has as many false alarms as misses.

    NaN where only one class is present.
    """
    return float(bootstrap.equal_error_rate(*bootstrap.curves(*checked(truth, score)))[0])


def binary_metrics(predictions: pd.DataFrame, threshold: float | None = None) -> dict[str, float]:
    """Compute every metric of a predictions table; rows without a label are left out.

    Args:
        predictions: See `tables.predictions_table`.
        threshold: An image is called fake from this `p_fake` on; the table's own when not given.

    Returns:
        Those of `bootstrap.METRICS` and `threshold`, `n`, `n_real`, `n_fake` and, where the category is known
        and predicted, `category_accuracy` and `n_category`. NaN where a class is missing.

    Raises:
        DfdError: A column is missing, or `p_fake` is not between 0 and 1.
    """
    known = labelled(predictions)
    if threshold is None:
        threshold = predictions.attrs.get("threshold", 0.5)
    truth, p_fake = bootstrap.checked_probabilities(known["label"] == "fake", known["p_fake"])
    result = bootstrap.Sample(truth, p_fake, threshold=threshold).values(tuple(bootstrap.METRICS))
    result |= {
        "threshold": float(threshold),
        "n": len(known),
        "n_real": int((truth == 0).sum()),
        "n_fake": int(truth.sum()),
    }
    if "predicted_category" in predictions:
        categorised = predictions[predictions["category"].notna()]
        result["category_accuracy"] = _mean(categorised["predicted_category"] == categorised["category"])
        result["n_category"] = len(categorised)
    return result


def auc_interval(
    predictions: pd.DataFrame, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the AUC that resamples *groups*: images of one source are not independent.

    Args:
        predictions: See `tables.predictions_table`; the order of its rows does not matter. An image
            without a group stands for itself.
        n_resamples: Bootstrap samples; one without both classes does not count.
        level: Coverage of the percentile interval (Efron & Tibshirani 1993).
        seed: Draws the samples.

    Returns:
        Lower and upper end; NaN where only one class is present.

    Raises:
        DfdError: A column is missing, no resamples, or a level that is not between 0 and 1.
    """
    row = bootstrap.bootstrap_metrics(predictions, ["auc"], n_resamples, level, seed).loc["auc"]
    return float(row["low"]), float(row["high"])


def by_generator(predictions: pd.DataFrame) -> pd.DataFrame:
    """Judge each generator's fakes against all real images.

    Returns:
        Index `generator`; columns `n`, `auc`, `auc_low`, `auc_high` (95 %, see `auc_interval`),
        `fake_accuracy` at the threshold and `mean_p_fake`.
    """
    rows = {name: _against_reals(part) for name, part, _ in _parts(predictions, "generator")}
    columns = ["n", "auc", "auc_low", "auc_high", "fake_accuracy", "mean_p_fake"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("generator")


def by_category(predictions: pd.DataFrame) -> pd.DataFrame:
    """Judge the images of each category by themselves: index `category`, columns of `binary_metrics`."""
    rows = {name: binary_metrics(part) for name, part, _ in _parts(predictions, "category")}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("category")


def by(
    predictions: pd.DataFrame, column: str, names: Sequence[str] | None = None, n_resamples: int = 1000
) -> pd.DataFrame:
    """Judge the images of each value of a column, such as `category` or `source`, with 95 % intervals.

    A generator's fakes are judged against all real images, anything else by itself.

    Args:
        predictions: See `tables.predictions_table`; rows without a label or a value are left out.
        column: Name of the column.
        names: Names of metrics, see `bootstrap.METRICS`; all when not given.
        n_resamples: Bootstrap samples.

    Returns:
        Index: the column and `metric`; columns of `bootstrap.bootstrap_metrics`, but `n` counts the fakes
        alone for generators.

    Raises:
        DfdError: See `bootstrap.bootstrap_metrics`.
    """
    tables = {}
    for value, part, n in _parts(predictions, column):
        tables[value] = bootstrap.bootstrap_metrics(part, names, n_resamples).assign(n=n)
    if not tables:
        raise DfdError(f"no labelled image has a {column}; fill in the column `{column}`.")
    return pd.concat(tables, names=[column])


def video_level(predictions: pd.DataFrame, how: str = "mean", k: int = 5) -> pd.DataFrame:
    """Put the frames of each video together.

    Args:
        predictions: A row a frame. The column `video` says which frames belong together (where it is empty,
            an image stands alone); without the column, frames are told by the number that ends their name:
            `fakes/000_003/0042.png` and `fakes/000_003_0042.png` are of the video `fakes/000_003`.
        how: `mean` of the logits of all frames, or `top_k`, of the k highest: a video is fake where some
            frames are. A threshold that was chosen on frames does not fit `top_k`; choose it anew.
        k: Number of frames for `top_k`; all where a video has fewer.

    Returns:
        A predictions table, a row a video in the order of their first frames: `path` (the video), what the
        manifest says of it, `n_frames`, `logit`, `p_fake`, and `predicted` by the table's threshold.

    Raises:
        DfdError: A column is missing, a path does not tell its video, a video holds real and fake frames, or
            an unknown `how`.
    """
    if how not in ("mean", "top_k") or k < 1:
        raise DfdError(
            f"videos are judged by the 'mean' or the 'top_k' of k >= 1 frames, not {how!r} of {k}."
        )
    labelled(predictions, "path")
    if "video" in predictions:
        video = predictions["video"].fillna(predictions["path"])
    else:
        video = predictions["path"].map(_video_of)
    frames = predictions.drop(columns=["path", "video"], errors="ignore").assign(path=video)
    if "logit" not in frames:
        frames["logit"] = logit(frames["p_fake"].clip(1e-12, 1 - 1e-12))
    videos = frames.groupby("path", sort=False)
    mixed = videos["label"].nunique() > 1
    if mixed.any():
        raise DfdError(f"the video {mixed.idxmax()} has real and fake frames; tell them apart in `video`.")
    kept = frames if how == "mean" else frames.sort_values("logit").groupby("path").tail(k)
    table = videos[[name for name in _ABOUT if name in frames]].first()
    table["n_frames"], table["logit"] = videos.size(), kept.groupby("path")["logit"].mean()
    table["p_fake"] = expit(table["logit"])
    threshold = predictions.attrs.get("threshold", 0.5)
    table["predicted"] = np.where(table["p_fake"] >= threshold, "fake", "real")
    table.attrs = dict(predictions.attrs)
    return table.reset_index()


def _against_reals(judged: pd.DataFrame) -> list[float]:
    scores, (low, high) = binary_metrics(judged), auc_interval(judged)
    mean_p_fake = float(judged.loc[judged["label"] == "fake", "p_fake"].mean())
    return [scores["n_fake"], scores["auc"], low, high, scores["fake_accuracy"], mean_p_fake]


def _parts(predictions: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame, int]]:
    """Yield each value of a column with the images to judge, and their number (of the fakes of a generator)."""
    known = labelled(predictions, column)
    reals = known[known["label"] == "real"]
    rows = known[known["label"] == "fake"] if column == "generator" else known
    for value, part in rows.groupby(column, sort=True):
        judged = pd.concat([part, reals]) if column == "generator" else part
        judged.attrs = dict(predictions.attrs)
        yield value, judged, len(part)


def _video_of(path: str) -> str:
    """Return the video of a frame, with all its folders: names repeat under each generator."""
    pure = PurePosixPath(path)
    name = _FRAME_NUMBER.sub("", pure.stem)
    said = {*LABEL_WORDS, *SPLIT_WORDS, *SILENT_WORDS}
    numbered = any(sign.isdigit() for sign in name)
    nameless = not name and {part.lower() for part in pure.parts[:-1]} <= said
    if nameless or (name != pure.stem and name and not numbered):  # `cat_001.png` need not be a frame
        raise DfdError(f"{path} does not tell which video it is a frame of; add a column `video`.")
    return str(pure.parent / name)


def _mean(values: Any) -> float:
    values = np.asarray(values, float)
    return float(values.mean()) if len(values) else np.nan
