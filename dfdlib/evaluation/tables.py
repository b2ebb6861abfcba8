"""The predictions table, one row per image, and the tables that people read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit, softmax
from sklearn.metrics import classification_report

from dfdlib.core.errors import DfdError
from dfdlib.core.files import safe_table
from dfdlib.data.layouts import LABEL_WORDS, SILENT_WORDS, SPLIT_WORDS
from dfdlib.evaluation import bootstrap, metrics
from dfdlib.models.decision import Decision
from dfdlib.models.detector import Detector

_OF_VIDEO = ("label", "category", "split", "group", "generator", "source", "root", "threshold")
_FRAME_NUMBER = re.compile(r"[ _.#-]*(frame|img|image)?[ _.-]*\d+$", re.IGNORECASE)


def predictions_table(
    detector: Detector,
    manifest: pd.DataFrame,
    fake_logits: np.ndarray,
    category_logits: np.ndarray | None,
    novelty: np.ndarray | None = None,
) -> pd.DataFrame:
    """Turn logits into the predictions table.

    Args:
        detector: Gives the decision and the categories.
        manifest: One row per image, N in all.
        fake_logits: float [N], as the network returns them.
        category_logits: float [N, C], or None.
        novelty: float [N], see `Familiarity.novelty`, or None.

    Returns:
        The manifest's columns and `logit` (raw), `p_fake` (0 to 1), `predicted` (real or fake, by the
        threshold), `verdict` (the same, or `can't tell` within the detector's band or for an image unlike
        anything in training), `threshold`, `novelty` where it is known and, with categories,
        `predicted_category`, `category_confidence` and `p_<category>`.
    """
    table = manifest.reset_index(drop=True).assign(logit=fake_logits.astype(np.float64))
    if novelty is not None:
        table["novelty"] = novelty.astype(np.float64)
    table = with_decision(table, detector.decision)
    if category_logits is not None:
        probabilities = softmax(category_logits.astype(np.float64), axis=1)
        table["predicted_category"] = np.asarray(detector.categories, object)[probabilities.argmax(1)]
        table["category_confidence"] = probabilities.max(1)
        for i, name in enumerate(detector.categories):
            table[f"p_{name}"] = probabilities[:, i]
    return table


def with_decision(predictions: pd.DataFrame, decision: Decision) -> pd.DataFrame:
    """Return predictions whose `logit` is judged by a decision: `p_fake`, `predicted`, `verdict`, `threshold`."""
    p_fake = decision.p_fake(predictions["logit"].to_numpy())
    novelty = predictions["novelty"].to_numpy() if "novelty" in predictions else None
    verdicts = {"predicted": decision.labels(p_fake), "verdict": decision.verdicts(p_fake, novelty)}
    return predictions.assign(p_fake=p_fake, **verdicts, threshold=decision.threshold)


def combined(detectors: Sequence[Detector], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the predictions of several detectors for the same images.

    Args:
        detectors: The detectors.
        tables: The predictions table of each.

    Returns:
        A predictions table: the mean of the calibrated logits, judged by `joint_decision`; category
        probabilities are averaged.

    Raises:
        DfdError: The detectors differ in their categories.
    """
    if len({detector.categories for detector in detectors}) != 1:
        raise DfdError("an ensemble needs detectors of the same categories.")
    if len(detectors) == 1:
        return tables[0]
    table = tables[0].copy()
    if all("novelty" in one for one in tables):  # unlike what any of them knows
        table["novelty"] = np.max([one["novelty"] for one in tables], axis=0)
    if "in_training" in table:
        table["in_training"] = np.any([one["in_training"] for one in tables], axis=0)
    pairs = zip(detectors, tables, strict=True)
    table["logit"] = np.mean([calibrated(one, detector)["logit"] for detector, one in pairs], axis=0)
    names = [f"p_{name}" for name in detectors[0].categories]
    if names:
        table[names] = np.mean([one[names] for one in tables], axis=0)
        table["predicted_category"] = table[names].idxmax(axis=1).str.removeprefix("p_")
        table["category_confidence"] = table[names].max(axis=1)
    return with_decision(table, joint_decision(detectors))


def calibrated(predictions: pd.DataFrame, detector: Detector) -> pd.DataFrame:
    """Return predictions whose `logit` is divided by the detector's temperature, comparable to those of others."""
    return predictions.assign(logit=predictions["logit"] / detector.decision.temperature)


def joint_decision(detectors: Sequence[Detector]) -> Decision:
    """Return how several detectors decide together, on calibrated logits: the mean of their thresholds and bands.

    Means are taken of logits. There is no band where one detector has none.
    """
    decisions = [detector.decision for detector in detectors]
    threshold = float(expit(np.mean([logit(one.threshold) for one in decisions])))
    if any(one.band is None for one in decisions):
        return Decision(threshold)
    low, high = expit(logit(np.clip([one.band for one in decisions], 0, 1)).mean(0))
    return Decision(threshold, band=(float(low), float(high if high < 1 else np.nextafter(1, 2))))


def video_level(predictions: pd.DataFrame, how: str = "mean", k: int = 5) -> pd.DataFrame:
    """Put the frames of each video together.

    Args:
        predictions: One row per frame. The column `video` says which frames belong together (where it is
            empty, an image stands alone); without the column, frames are told by the number that ends their
            name: `fakes/000_003/0042.png` and `fakes/000_003_0042.png` are of the video `fakes/000_003`.
        how: `mean` of the logits of all frames, or `top_k`, of the k highest: a video is fake where some
            frames are. A threshold that was chosen on frames does not fit `top_k`; choose it anew.
        k: Number of frames for `top_k`; all where a video has fewer.

    Returns:
        A predictions table, one row per video in the order of their first frames: `path` (the video), what
        the manifest says of it, `n_frames`, `logit`, `p_fake`, `threshold` and `predicted`.

    Raises:
        DfdError: A column is missing, a path does not tell its video, a video holds real and fake frames, or
            an unknown `how`.
    """
    if how not in ("mean", "top_k") or k < 1:
        raise DfdError(
            f"videos are judged by the 'mean' or the 'top_k' of k >= 1 frames, not {how!r} of {k}."
        )
    metrics.labelled(predictions, "path", "threshold")
    if "video" in predictions:
        video = predictions["video"].fillna(predictions["path"])
    else:
        video = predictions["path"].map(_video_of)
    frames = predictions.drop(columns=["path", "video"], errors="ignore").assign(path=video)
    frames["logit"] = logit(frames["p_fake"].clip(1e-12, 1 - 1e-12))  # calibrated
    videos = frames.groupby("path", sort=False)
    mixed = videos["label"].nunique() > 1
    if mixed.any():
        raise DfdError(f"the video {mixed.idxmax()} has real and fake frames; tell them apart in `video`.")
    kept = frames if how == "mean" else frames.sort_values("logit").groupby("path").tail(k)
    table = videos[[name for name in _OF_VIDEO if name in frames]].first()
    table["n_frames"], table["logit"] = videos.size(), kept.groupby("path")["logit"].mean()
    table["p_fake"] = expit(table["logit"])
    table["predicted"] = Decision(predictions["threshold"].max()).labels(table["p_fake"])
    return table.reset_index()


def public_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Turn predictions into the table that users read.

    Returns:
        Columns `file`, `prediction` (real or fake), `p_fake`, `confidence` (probability of the side that was
        predicted), `verdict` (real, fake or can't tell), `category` and `category_confidence` where they are
        predicted, `judged` where it is known which part of an image was, `faces` as JSON where a detector crops to them (see `files.judge_files`), and `true_label` and `true_category` (empty where not known). A text that a spreadsheet
        would take for a formula starts with an apostrophe.
    """
    p_fake = predictions["p_fake"]
    table = pd.DataFrame(
        {
            "file": predictions["path"],
            "prediction": predictions["predicted"],
            "p_fake": p_fake.round(6),
            "confidence": np.where(predictions["predicted"] == "fake", p_fake, 1 - p_fake).round(6),
        }
    )
    table["verdict"] = predictions["verdict"] if "verdict" in predictions else predictions["predicted"]
    if "predicted_category" in predictions:
        table["category"] = predictions["predicted_category"]
        table["category_confidence"] = predictions["category_confidence"].round(6)
    if "judged" in predictions:
        table["judged"] = predictions["judged"]
    if "faces" in predictions:
        table["faces"] = predictions["faces"].map(json.dumps)
    table["true_label"], table["true_category"] = predictions["label"], predictions["category"]
    return safe_table(table)


def as_text(value: Any, ends: Sequence[Any] | None = None) -> str:
    """Return a value as people read it, with its interval such as `0.962 [0.934, 0.985]`; a dash for none."""
    if value is None or value != value:
        return "–"
    if isinstance(value, list):
        return " to ".join(map(as_text, value))
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    if isinstance(value, float):
        text = f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"
    known = ends and ends[0] is not None and ends[0] == ends[0]
    return f"{text} [{ends[0]:.3f}, {ends[1]:.3f}]" if known else text


def as_texts(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of an entry as texts by their plain names, each with its interval.

    The interval of `x` is `x_95`, or `x_low` and `x_high`; of `auc` also `low` and `high`, as in `auc_table`.
    """
    entry = {f"auc_{key}" if key in ("low", "high") else key: value for key, value in entry.items()}
    texts = {}
    for key, value in entry.items():
        if not key.endswith(("_low", "_high", "_95")):
            ends = entry.get(f"{key}_95") or (entry.get(f"{key}_low"), entry.get(f"{key}_high"))
            plain = key if key == "p_fake" else key.replace("_", " ")
            texts[metrics.METRICS[key].title if key in metrics.METRICS else plain] = as_text(value, ends)
    return texts


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as people read it: rows by name, plain column names, values with their intervals."""
    numbered = pd.api.types.is_integer_dtype(table.index)
    named = table if numbered else table.rename_axis(" ").reset_index()
    texts = pd.DataFrame(map(as_texts, named.to_dict("records")))
    return texts.set_index(texts.columns[0]).rename_axis(None)


def metrics_table(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the metrics of several predictions tables side by side, each with its 95 % interval, and n."""
    columns = {}
    for name, table in judged.items():
        if table["label"].notna().any():
            scores = metrics.binary_metrics(table)
            shown = bootstrap.with_ends(bootstrap.bootstrap_metrics(table))
            if scores.get("n_category"):
                shown["category_accuracy"] = scores["category_accuracy"]
            columns[name] = as_texts(shown | {key: scores[key] for key in ("threshold", "n", "n_fake")})
    return pd.DataFrame(columns).fillna(as_text(None))


def auc_table(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per predictions table: `name`, `n`, `auc`, `low`, `high` (95 % interval), `accuracy`."""
    rows = []
    for name, table in judged.items():
        scores, (low, high) = metrics.binary_metrics(table), bootstrap.auc_interval(table)
        rows.append({"name": name, "n": scores["n"], "auc": scores["auc"], "low": low, "high": high})
        rows[-1]["accuracy"] = scores["accuracy"]
    return pd.DataFrame(rows)


def classification_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return precision, recall, F1 and number of images of both labels, and their means.

    Rows without a label are left out. Raises `DfdError` where none has one.
    """
    known = predictions[predictions["label"].notna()]
    if known.empty:
        raise DfdError("no image has a label to compare with; label some.")
    rows = classification_report(
        known["label"], known["predicted"], labels=["real", "fake"], output_dict=True, zero_division=0
    )
    accuracy = float((known["label"] == known["predicted"]).mean())
    rows = {name: rows[name] for name in ("real", "fake", "macro avg", "weighted avg")}
    table = pd.DataFrame(rows).T.rename(columns={"support": "n", "f1-score": "f1"}).astype({"n": int})
    return table.assign(accuracy=[np.nan, np.nan, accuracy, np.nan])


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
