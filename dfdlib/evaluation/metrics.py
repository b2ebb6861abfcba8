"""Metrics of the field as pure functions of a predictions table; `fake` is the positive class.

Every metric is computed from sums over weighted images, so that `bootstrap` can weigh all resamples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dfdlib.core.errors import DfdError, unknown

ECE_BINS = 15


@dataclass(frozen=True)
class Sums:
    """Sums over labelled images, one row for each of R weightings: what every metric is made of."""

    tp_curve: np.ndarray
    """[R, K + 1], weight of the fakes among the k highest of K different scores, from k = 0."""
    fp_curve: np.ndarray
    """[R, K + 1], weight of the real images among them."""
    tp: np.ndarray
    """[R], weight of the fakes called fake."""
    fp: np.ndarray
    """[R], weight of the real images called fake."""
    log_loss: np.ndarray
    """[R], sum of the log losses."""
    squared_error: np.ndarray
    """[R], sum of the squared differences of `p_fake` and truth."""
    gaps: np.ndarray
    """[R, B], sum of these differences in each bin of equal mass."""
    bins: tuple[np.ndarray, np.ndarray]
    """Each [B], see `calibration_error`: the standard errors of the gaps, and the share of the images."""

    @property
    def fakes(self) -> np.ndarray:
        """[R], weight of all fakes."""
        return self.tp_curve[:, -1]

    @property
    def reals(self) -> np.ndarray:
        """[R], weight of all real images."""
        return self.fp_curve[:, -1]

    def mean(self, total: np.ndarray) -> np.ndarray:
        """Divide a sum [R] by the weight of all images."""
        return ratio(total, self.fakes + self.reals)


class Metric(NamedTuple):
    """A metric of the field."""

    title: str
    """What figures, tables and pages call it."""
    of: Callable[[Sums], np.ndarray]
    """From the sums to its value for each weighting, [R]; NaN where a class that it needs is missing."""


def area_under_roc(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """Return the area under each ROC curve [R], see `Sums.tp_curve`."""
    below = np.einsum("rk,rk->r", np.diff(fp), tp[:, 1:] + tp[:, :-1]) / 2
    return ratio(below, tp[:, -1] * fp[:, -1])


def area_under_precision_recall(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """Return the area under each precision-recall curve, as a step function, [R]."""
    called = tp[:, 1:] + fp[:, 1:]
    precision = np.divide(tp[:, 1:], called, out=np.zeros_like(called), where=called > 0)
    mean = ratio(np.einsum("rk,rk->r", np.diff(tp), precision), tp[:, -1])
    return np.where(fp[:, -1] > 0, mean, np.nan)


def equal_error_rate(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """Return the rate where each ROC curve, interpolated, has as many false alarms as misses, [R]."""
    fakes, reals = tp[:, -1], fp[:, -1]
    balance = fp * fakes[:, None] + tp * reals[:, None]  # rises from 0 to twice the crossing's value
    rows = np.arange(len(tp))
    after = np.clip((balance < (fakes * reals)[:, None]).sum(1), 1, tp.shape[1] - 1)
    step = balance[rows, after] - balance[rows, after - 1]
    part = ratio(fakes * reals - balance[rows, after - 1], step)
    crossing = fp[rows, after - 1] + part * (fp[rows, after] - fp[rows, after - 1])
    return np.where(fakes > 0, ratio(crossing, reals), np.nan)


def tpr_at_fpr(tp: np.ndarray, fp: np.ndarray, rate: float) -> np.ndarray:
    """Return the best hit rate of a threshold with at most a share `rate` of false alarms; not interpolated, [R]."""
    fakes, reals = tp[:, -1], fp[:, -1]
    last = (fp <= (rate * reals + 1e-9)[:, None]).sum(1) - 1
    return np.where(reals > 0, ratio(tp[np.arange(len(tp)), last], fakes), np.nan)


def calibration_error(gaps: np.ndarray, noise: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the expected calibration error (ECE) as root mean square over the images, [R]; at least 0.

    Noise lifts the distance in each bin, the more the fewer images it has; its squared standard error is
    subtracted (the debiased estimator of Kumar et al. 2019, arXiv:1909.10155).

    Args:
        gaps: [R, B], mean difference of `p_fake` and truth in each bin, times the bin's share of the images.
        noise: [B], their standard errors.
        share: [B], of the images.
    """
    known = share > 0
    squared = (gaps[:, known] ** 2 - noise[known] ** 2) / share[known]
    return np.where(known.any(), np.sqrt(np.maximum(0, squared.sum(1))), np.nan)


def _f1(sums: Sums) -> np.ndarray:
    """Return F1; 0, not NaN, where nothing is fake and nothing is called so."""
    found = ratio(2 * sums.tp, sums.fakes + sums.tp + sums.fp)
    return np.where(sums.fakes + sums.reals > 0, np.nan_to_num(found), np.nan)


def _real_accuracy(sums: Sums) -> np.ndarray:
    return ratio(sums.reals - sums.fp, sums.reals)


def _fake_accuracy(sums: Sums) -> np.ndarray:
    return ratio(sums.tp, sums.fakes)


METRICS: Mapping[str, Metric] = {
    "auc": Metric("AUC", lambda sums: area_under_roc(sums.tp_curve, sums.fp_curve)),
    "ap": Metric("average precision", lambda sums: area_under_precision_recall(sums.tp_curve, sums.fp_curve)),
    "eer": Metric("EER", lambda sums: equal_error_rate(sums.tp_curve, sums.fp_curve)),
    "tpr_at_1_fpr": Metric("TPR at 1 % FPR", lambda sums: tpr_at_fpr(sums.tp_curve, sums.fp_curve, 0.01)),
    "tpr_at_5_fpr": Metric("TPR at 5 % FPR", lambda sums: tpr_at_fpr(sums.tp_curve, sums.fp_curve, 0.05)),
    "accuracy": Metric("accuracy", lambda sums: sums.mean(sums.tp + sums.reals - sums.fp)),
    "balanced_accuracy": Metric(
        "balanced accuracy", lambda sums: (_fake_accuracy(sums) + _real_accuracy(sums)) / 2
    ),
    "f1": Metric("F1", _f1),
    "real_accuracy": Metric("accuracy on real images", _real_accuracy),
    "fake_accuracy": Metric("accuracy on fakes", _fake_accuracy),
    "log_loss": Metric("log loss", lambda sums: sums.mean(sums.log_loss)),
    "brier": Metric("Brier score", lambda sums: sums.mean(sums.squared_error)),
    "ece": Metric("ECE", lambda sums: calibration_error(sums.mean(sums.gaps.T).T, *sums.bins)),
}
"""Every metric by its key in tables and in `metrics.json`."""


class ScoredImages:
    """Labelled images, sorted by score once, to be weighed many times."""

    def __init__(
        self, truth: np.ndarray, p_fake: np.ndarray, called: np.ndarray, group: np.ndarray | None = None
    ) -> None:
        """Sort the images.

        Args:
            truth: [N], 1 fake, 0 real.
            p_fake: [N], 0 to 1.
            called: bool [N], whether the detector called the image fake.
            group: [N], counted from 0 without a gap; each image its own when not given.
        """
        group = np.arange(len(truth)) if group is None else group
        order = np.argsort(-p_fake, kind="stable")
        self.group = group[order]
        self._fake, self._last = truth[order].astype(float), _last_of_each(p_fake[order])
        terms = _terms(truth, p_fake, called)
        self.n_groups = int(group.max()) + 1 if len(group) else 0
        self._sums = np.zeros((self.n_groups, terms.shape[1]))
        np.add.at(self._sums, group, terms)
        gaps = self._sums[:, -ECE_BINS:]
        noise = np.sqrt(((gaps - gaps.sum(0) / max(self.n_groups, 1)) ** 2).sum(0))
        counts = np.bincount(equal_mass_bins(p_fake), minlength=ECE_BINS)
        self._bins = noise / max(len(truth), 1), counts / max(len(truth), 1)

    def weigh(self, weights: np.ndarray) -> Sums:
        """Return the sums for each row of weights [R, groups]."""
        weights = weights.astype(float)
        tp_curve, fp_curve = _curves(weights[:, self.group], self._fake, self._last)
        tp, fp, log_loss, squared_error, *gaps = (weights @ self._sums).T
        gaps = np.stack(gaps, axis=1)
        return Sums(tp_curve, fp_curve, tp, fp, log_loss, squared_error, gaps, self._bins)

    def values(self, names: Sequence[str]) -> dict[str, float]:
        """Return each metric, every image counted once."""
        sums = self.weigh(np.ones((1, self.n_groups)))
        return {name: float(METRICS[name].of(sums)[0]) for name in names}


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
    return float(area_under_roc(*curves(*checked(truth, score)))[0])


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the precision-recall curve as a step function; NaN where only one class is present."""
    return float(area_under_precision_recall(*curves(*checked(truth, score)))[0])


def eer(truth: np.ndarray, score: np.ndarray) -> float:
    """Equal error rate: where the ROC curve, interpolated, has as many false alarms as misses.

    NaN where only one class is present.
    """
    return float(equal_error_rate(*curves(*checked(truth, score)))[0])


def binary_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """Compute every metric of a predictions table; rows without a label are left out.

    Args:
        predictions: See `tables.predictions_table`; accuracies are those of its column `predicted`.

    Returns:
        Those of `METRICS` and `threshold`, `n`, `n_real`, `n_fake` and, where the category is known and
        predicted, `category_accuracy` and `n_category`. NaN where a class is missing.

    Raises:
        DfdError: A column is missing, or `p_fake` is not between 0 and 1.
    """
    known = labelled(predictions, "predicted")
    truth, p_fake = checked_probabilities(known["label"] == "fake", known["p_fake"])
    called = (known["predicted"] == "fake").to_numpy()
    groups = group_codes(known) if "group" in known else None
    result = ScoredImages(truth, p_fake, called, groups).values(tuple(METRICS))
    result |= {
        "threshold": float(known["threshold"].iloc[0]) if "threshold" in known and len(known) else np.nan,
        "n": len(known),
        "n_real": int((truth == 0).sum()),
        "n_fake": int(truth.sum()),
    }
    if "predicted_category" in predictions:
        categorised = predictions[predictions["category"].notna()]
        right = categorised["predicted_category"] == categorised["category"]
        result["category_accuracy"] = float(right.mean()) if len(right) else np.nan
        result["n_category"] = len(categorised)
    return result


def by_category(predictions: pd.DataFrame, column: str = "category") -> pd.DataFrame:
    """Judge the images of each category, or `source`, by themselves: index `column`, columns of `binary_metrics`."""
    rows = {name: binary_metrics(part) for name, part, _ in parts(predictions, column)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(column)


def parts(predictions: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame, int]]:
    """Yield each value of a column with the images to judge, and their number (of the fakes of a generator)."""
    known = labelled(predictions, column)
    reals = known[known["label"] == "real"]
    rows = known[known["label"] == "fake"] if column == "generator" else known
    for value, part in rows.groupby(column, sort=True):
        yield value, pd.concat([part, reals]) if column == "generator" else part, len(part)


def known_metrics(names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names, or all there are. Raises `DfdError` for one that is not in `METRICS`."""
    names = tuple(METRICS) if names is None else tuple(names)
    for name in names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    return names


def group_codes(predictions: pd.DataFrame) -> np.ndarray:
    """Return the number of each image's group, [N], from 0; an image without a group is one of its own."""
    codes, names = pd.factorize(predictions["group"], sort=True)
    alone = codes < 0
    codes[alone] = len(names) + np.arange(alone.sum())
    return codes


def labelled(predictions: pd.DataFrame, *needed: str) -> pd.DataFrame:
    """Return the rows with a label. Raises `DfdError` where a column is missing."""
    missing = [name for name in ("label", "p_fake", *needed) if name not in predictions]
    if missing:
        raise DfdError(
            f"the predictions lack the columns {', '.join(missing)}; make them with dfdlib.predict."
        )
    return predictions[predictions["label"].notna()]


def checked(truth: Any, score: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as integers and scores as floats.

    Raises:
        DfdError: They differ in length, a label is neither 0 nor 1, or a score is NaN or infinite.
    """
    truth, score = np.asarray(truth), np.asarray(score, float)
    if truth.shape != score.shape or truth.ndim != 1:
        raise DfdError(f"labels {truth.shape} and scores {score.shape} must be two lists of the same length.")
    if not np.isin(truth, (0, 1)).all():
        raise DfdError("labels must be 0 (real) or 1 (fake); leave out the images that have none.")
    broken = ~np.isfinite(score)
    if broken.any():
        raise DfdError(
            f"{broken.sum()} of {len(score)} scores are NaN or infinite; the model's output is broken."
        )
    return truth.astype(int), score


def checked_probabilities(truth: Any, p_fake: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what `checked` does; raise `DfdError` for a score that is no probability as well."""
    truth, p_fake = checked(truth, p_fake)
    if ((p_fake < 0) | (p_fake > 1)).any():
        raise DfdError("`p_fake` must lie between 0 and 1; these look like logits.")
    return truth, p_fake


def curves(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `Sums.tp_curve` and `Sums.fp_curve` for scores of any scale, every image counted once."""
    order = np.argsort(-score, kind="stable")
    return _curves(np.ones((1, len(score))), truth[order].astype(float), _last_of_each(score[order]))


def equal_mass_bins(p_fake: np.ndarray, n_bins: int = ECE_BINS) -> np.ndarray:
    """Return the bin of each score, from 0: bins of about as many images each; equal scores share one."""
    edges = np.quantile(p_fake, np.arange(1, n_bins) / n_bins) if len(p_fake) else []
    return np.searchsorted(np.unique(edges), p_fake, side="right")


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _last_of_each(ordered: np.ndarray) -> np.ndarray:
    """Return the place of the last image of each different score."""
    return np.flatnonzero(np.diff(ordered, append=np.nan) != 0)


def _curves(weights: np.ndarray, fake: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both curves of images [N] in order, for each row of weights [R, N]."""
    both = np.zeros((2, len(weights), len(last) + 1))
    for curve, weight in zip(both, (weights * fake, weights * (1 - fake)), strict=True):
        curve[:, 1:] = np.cumsum(weight, axis=1)[:, last]
    return both[0], both[1]


def _terms(truth: np.ndarray, p_fake: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Return what is summed, [N, 4 + B]: TP, FP, log loss, squared error, difference by bin."""
    gap = p_fake - truth
    bounded = np.clip(np.where(truth == 1, p_fake, 1 - p_fake), 1e-12, 1)
    bins = np.where(equal_mass_bins(p_fake)[:, None] == np.arange(ECE_BINS), gap[:, None], 0)
    sums = [called & (truth == 1), called & (truth == 0), -np.log(bounded), gap**2]
    return np.column_stack([*sums, bins])
