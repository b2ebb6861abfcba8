"""What is wrong with a run, as far as its own results show: read before its numbers are believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

_AUC_TOLERANCE = 0.02
"""Half precision moves an AUC by less."""
_ECE_LIMIT = 0.1
_UNREADABLE_LIMIT = 0.01


@dataclass(frozen=True)
class Finding:
    """One thing that a reader of the run's numbers must know."""

    level: str
    """`error`: the numbers must not be used; `warning`: they mean less than they seem to."""
    text: str
    """A sentence with the remedy."""


def check_run(report: Mapping[str, Any], log: pd.DataFrame | None = None) -> list[Finding]:
    """Look for signs of a broken detector or of a test that is none.

    Args:
        report: The content of `metrics.json`, see `report.Report.save_metrics`.
        log: The `training_log.csv` beside it, of the detector that was judged.

    Returns:
        The findings, errors first; none where nothing is amiss.
    """
    splits = report.get("metrics") or {}
    found = []
    for split, scores in splits.items():
        found += _check_scores(split, scores)
    found += _check_against_log(splits.get("val"), log)
    found += _check_data(report.get("data") or {})
    return sorted(found, key=lambda finding: finding.level)


def _check_scores(split: str, scores: Mapping[str, Any]) -> list[Finding]:
    found = []
    low, high = scores.get("auc_95") or (None, None)
    if high is not None and high < 0.5:
        text = (
            f"{split}: an AUC below one half ({scores['auc']:.3f}): scores run the wrong way. "
            "Are the labels reversed (real taken for fake)?"
        )
        found.append(Finding("error", text))
    elif low is not None and low <= 0.5:
        text = (
            f"{split}: the interval of the AUC [{low:.3f}, {high:.3f}] reaches 0.5: no better than guessing. "
            "Train longer, or ask whether these are the weights that were trained."
        )
        found.append(Finding("warning", text))
    seen = scores.get("n_seen") or 0
    if split != "val" and seen:
        text = (
            f"{split}: the detector has seen {seen} of {scores['n']} images in training or validation. "
            "This is no test; leave them out."
        )
        found.append(Finding("error", text))
    ece_low = (scores.get("ece_95") or (None,))[0]
    if ece_low is not None and ece_low > _ECE_LIMIT:
        text = (
            f"{split}: the probabilities are off by {scores['ece']:.2f} on average (ECE): do not take them at "
            "their word."
        )
        found.append(Finding("warning", text))
    return found


def _check_against_log(val: Mapping[str, Any] | None, log: pd.DataFrame | None) -> list[Finding]:
    """Compare the detector that was judged with the one that training left."""
    if val is None or log is None or val.get("auc") is None or "val_auc" not in log:
        return []
    trained = log.loc[log["best"].astype(bool), "val_auc"]
    if trained.empty or abs(trained.iloc[-1] - val["auc"]) <= _AUC_TOLERANCE:
        return []
    text = (
        f"val: training ended with an AUC of {trained.iloc[-1]:.3f}, and the detector that was judged has "
        f"{val['auc']:.3f}. Its weights or its preprocessing are not those that were trained."
    )
    return [Finding("error", text)]


def _check_data(data: Mapping[str, Any]) -> list[Finding]:
    images, unreadable = data.get("images") or 0, data.get("unreadable") or 0
    if unreadable <= _UNREADABLE_LIMIT * (images + unreadable):
        return []
    text = f"{unreadable} of {images + unreadable} images could not be read; see unreadable.csv."
    return [Finding("warning", text)]
