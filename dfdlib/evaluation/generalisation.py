"""How a detector does on data sets and families of fakes that it never saw.

The test images of the training set flatter: detectors learn the family at hand, and fail on the next (Wang et
al. 2020, CNNDetection, arXiv:1912.11035; Ojha et al. 2023, arXiv:2302.10174).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from dfdlib.core.errors import DfdError, unknown
from dfdlib.data.dataset import ImageDataset
from dfdlib.evaluation.bootstrap import bootstrap_metrics, check_resampling, labelled, with_ends
from dfdlib.evaluation.predictions import predict
from dfdlib.evaluation.robustness import check_detectors
from dfdlib.models.detector import Detector

NOTHING = "nothing"
"""Row of a leave-one-out matrix for the detector that was trained with every family."""
_MEASURED = ("auc", "eer", "accuracy", "balanced_accuracy")


def cross_dataset(
    detectors: Mapping[str, Detector],
    tables: Mapping[str, pd.DataFrame],
    resamples: int = 1000,
    seed: int = 0,
    batch_size: int = 64,
) -> pd.DataFrame:
    """Judge every detector on every data set, with its own threshold.

    AUC asks whether the order of scores carries over, accuracy whether the threshold does too.

    Args:
        detectors: Detectors of single images, by name.
        tables: Manifests by name; of the set that a detector was trained on, take the test images alone.
            Images without a label are left out.
        resamples: Bootstrap samples of the groups for each interval.
        seed: Draws the resamples.
        batch_size: Images per forward pass; changes the speed alone.

    Returns:
        One row per detector and data set: `detector`, `dataset`, `n`, `n_real`, `n_fake`, `n_groups`, `threshold`,
        and `auc`, `eer`, `accuracy` and `balanced_accuracy` (0 to 1, the last two at the stored threshold; NaN
        where a class is missing) with the ends of their 95 % intervals, `…_low` and `…_high`.

    Raises:
        DfdError: No detector or one of clips, no data set, or one with no labelled image that can be read.
    """
    check_detectors(detectors)
    check_resampling(resamples, 0.95)
    if not tables:
        raise DfdError("there is no data set to judge on; name at least one.")
    rows = []
    for dataset, table in tables.items():
        known = table[table["label"].notna()]
        if known.empty:
            raise DfdError(f"the data set `{dataset}` has no labelled image to judge by.")
        fits = {detector.fit for detector in detectors.values()}
        images = {fit: ImageDataset(known, fit) for fit in fits}
        for name, detector in detectors.items():
            predictions = predict(detector, images[detector.fit], batch_size)
            judged = bootstrap_metrics(predictions, _MEASURED, resamples, seed=seed)
            rows.append({"detector": name, "dataset": dataset, **_row(predictions, judged)})
    order = {name: place for place, name in enumerate(detectors)}
    return pd.DataFrame(rows).sort_values(
        "detector", key=lambda names: names.map(order), kind="stable", ignore_index=True
    )


def leave_one_out(scores: Mapping[str, pd.DataFrame], resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Judge each family's fakes against all real images, by detectors that each lacked one family.

    Args:
        scores: For each family left out of training *and* validation, the predictions of its detector (see
            `tables.predictions_table`) for the same test images: the real ones and the fakes of every
            family, which the column `generator` names. Under `NOTHING` those of the detector that lacked none.
        resamples: Bootstrap samples of the groups for each interval.
        seed: Draws the resamples; every cell of a family draws the same groups.

    Returns:
        One row per detector and family, those that were left out first, in the same order: `left_out`,
        `generator`, `unseen` (whether that family is the one left out), `n_fake`, `n_real`,
        `n_groups`, `auc` (0 to 1) and the ends of its 95 % interval, `auc_low` and `auc_high`.

    Raises:
        DfdError: No predictions, a column is missing, the tables are of different images, a name that is no
            family of the test images, no real image, or no resamples.
    """
    check_resampling(resamples, 0.95)

    def judged(part: pd.DataFrame) -> dict[str, float]:
        row = bootstrap_metrics(part, ["auc"], resamples, seed=seed).loc["auc"]
        ends = {"auc": row["value"], "auc_low": row["low"], "auc_high": row["high"]}
        return {"n_groups": int(row["n_groups"]), **ends}

    return _each_cell(scores, judged)


def _each_cell(
    scores: Mapping[str, pd.DataFrame], judged: Callable[[pd.DataFrame], dict[str, float]]
) -> pd.DataFrame:
    """Return one row per detector and tested family, with what `judged` makes of its fakes and all real images."""
    families = _families(scores)
    rows = []
    for left_out, predictions in scores.items():
        known = labelled(predictions)
        reals = known[known["label"] == "real"]
        for family in families:
            fakes = known[(known["label"] == "fake") & (known["generator"] == family)]
            about = {"left_out": left_out, "generator": family, "unseen": left_out == family}
            counts = {"n_fake": len(fakes), "n_real": len(reals)}
            rows.append({**about, **counts, **judged(pd.concat([fakes, reals]))})
    return pd.DataFrame(rows)


def _families(scores: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the families of the test images, those left out first; refuse scores that do not fit together."""
    if not scores:
        raise DfdError("there are no predictions to compare; give those of a detector for each family.")
    known = {name: labelled(table, "path", "generator", "group") for name, table in scores.items()}
    first, *others = known
    seen = _images(known[first])
    for name in others:
        if not seen.equals(_images(known[name])):
            raise DfdError(
                f"the predictions without `{first}` and without `{name}` are of different images; "
                "predict the same test images with every detector."
            )
    if not (seen["label"] == "real").any():
        raise DfdError("there is no real image to judge the fakes against; add real test images.")
    tested = sorted(set(seen.loc[seen["label"] == "fake", "generator"]) - {""})
    left_out = [name for name in scores if name != NOTHING]
    for name in left_out:
        if name not in tested:
            raise unknown("family of the test images", name, [*tested, NOTHING])
    return left_out + [name for name in tested if name not in left_out]


def _images(table: pd.DataFrame) -> pd.DataFrame:
    columns = table[["path", "label", "generator"]].astype(object)
    return columns.fillna("").sort_values("path", ignore_index=True)


def _row(predictions: pd.DataFrame, judged: pd.DataFrame) -> dict[str, float]:
    """Return counts, the threshold and a table of `bootstrap.bootstrap_metrics` as one row."""
    fake = predictions["label"] == "fake"
    row = {"n": len(fake), "n_real": int((~fake).sum()), "n_fake": int(fake.sum())}
    row |= {"n_groups": int(judged["n_groups"].iloc[0]), "threshold": float(predictions["threshold"].iloc[0])}
    return row | with_ends(judged)
