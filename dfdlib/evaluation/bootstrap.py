"""Every metric of weighted images, and its bootstrap interval over groups: all resamples at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dfdlib.core.errors import DfdError, did_you_mean

ECE_BINS = 15


_BLOCK = 50_000
"""Weights held at once: the blocks of resamples stay in the processor's cache."""


@dataclass(frozen=True)
class Weighed:
    """Sums over labelled images, a row for each of R weightings: what every metric is made of."""

    hits: np.ndarray
    """[R, K + 1], weight of the fakes among the k highest of K different scores, from k = 0."""
    alarms: np.ndarray
    """[R, K + 1], weight of the real images among them."""
    caught: np.ndarray
    """[R], weight of the fakes called fake."""
    flagged: np.ndarray
    """[R], weight of the real images called fake."""
    surprise: np.ndarray
    """[R], sum of the log losses."""
    squares: np.ndarray
    """[R], sum of the squared differences of `p_fake` and truth."""
    gaps: np.ndarray
    """[R, B], sum of these differences in each bin of equal mass."""
    drift: np.ndarray
    """[R], how far the gaps lie from those of the images as they are, summed over bins, for each image."""

    @property
    def fakes(self) -> np.ndarray:
        """[R], weight of all fakes."""
        return self.hits[:, -1]

    @property
    def reals(self) -> np.ndarray:
        """[R], weight of all real images."""
        return self.alarms[:, -1]


def area(hits: np.ndarray, alarms: np.ndarray) -> np.ndarray:
    """Area under each ROC curve; see `Weighed` for the curves, `metrics.auc` for the meaning."""
    below = np.einsum("rk,rk->r", np.diff(alarms), hits[:, 1:] + hits[:, :-1]) / 2
    return _share(below, hits[:, -1] * alarms[:, -1])


def average_precision(hits: np.ndarray, alarms: np.ndarray) -> np.ndarray:
    """Area under each precision-recall curve as a step function."""
    called = hits[:, 1:] + alarms[:, 1:]
    precision = np.divide(hits[:, 1:], called, out=np.zeros_like(called), where=called > 0)
    mean = _share(np.einsum("rk,rk->r", np.diff(hits), precision), hits[:, -1])
    return np.where(alarms[:, -1] > 0, mean, np.nan)


def equal_error_rate(hits: np.ndarray, alarms: np.ndarray) -> np.ndarray:
    """Rate where each ROC curve, interpolated, has as many false alarms as misses."""
    fakes, reals = hits[:, -1], alarms[:, -1]
    balance = alarms * fakes[:, None] + hits * reals[:, None]  # rises from 0 to twice the crossing's value
    rows = np.arange(len(hits))
    after = np.clip((balance < (fakes * reals)[:, None]).sum(1), 1, hits.shape[1] - 1)
    step = balance[rows, after] - balance[rows, after - 1]
    part = _share(fakes * reals - balance[rows, after - 1], step)
    crossing = alarms[rows, after - 1] + part * (alarms[rows, after] - alarms[rows, after - 1])
    return np.where(fakes > 0, _share(crossing, reals), np.nan)


def hit_rate_at(hits: np.ndarray, alarms: np.ndarray, rate: float) -> np.ndarray:
    """Best hit rate of a threshold whose share of false alarms is `rate` at most; not interpolated."""
    fakes, reals = hits[:, -1], alarms[:, -1]
    last = (alarms <= (rate * reals + 1e-9)[:, None]).sum(1) - 1
    return np.where(reals > 0, _share(hits[np.arange(len(hits)), last], fakes), np.nan)


METRICS: Mapping[str, Callable[[Weighed], np.ndarray]] = {
    "auc": lambda sums: area(sums.hits, sums.alarms),
    "ap": lambda sums: average_precision(sums.hits, sums.alarms),
    "eer": lambda sums: equal_error_rate(sums.hits, sums.alarms),
    "tpr_at_1_fpr": lambda sums: hit_rate_at(sums.hits, sums.alarms, 0.01),
    "tpr_at_5_fpr": lambda sums: hit_rate_at(sums.hits, sums.alarms, 0.05),
    "accuracy": lambda sums: _mean(sums.caught + sums.reals - sums.flagged, sums),
    "balanced_accuracy": lambda sums: (_fake_accuracy(sums) + _real_accuracy(sums)) / 2,
    "f1": lambda sums: _f1(sums),
    "real_accuracy": lambda sums: _real_accuracy(sums),
    "fake_accuracy": lambda sums: _fake_accuracy(sums),
    "log_loss": lambda sums: _mean(sums.surprise, sums),
    "brier": lambda sums: _mean(sums.squares, sums),
    "ece": lambda sums: _mean(np.abs(sums.gaps).sum(1), sums),
}
"""Every metric, from the sums to a value for each weighting; NaN where a class that it needs is missing."""


_ALL = {**METRICS, "drift": lambda sums: sums.drift}


class Sample:
    """Labelled images, sorted by score once, to be weighed many times."""

    def __init__(
        self, truth: np.ndarray, p_fake: np.ndarray, group: np.ndarray | None = None, threshold: float = 0.5
    ) -> None:
        """Sort the images.

        Args:
            truth: [N], 1 fake, 0 real.
            p_fake: [N], 0 to 1.
            group: [N], counted from 0 without a gap; each image its own when not given.
            threshold: An image is called fake from this `p_fake` on.
        """
        group = np.arange(len(truth)) if group is None else group
        order = np.argsort(-p_fake, kind="stable")
        self._fake, self._group, self._ends = truth[order].astype(float), group[order], _ends(p_fake[order])
        features = _features(truth, p_fake, threshold)
        self.n_groups = int(group.max()) + 1 if len(group) else 0
        self._sums = np.zeros((self.n_groups, features.shape[1]))
        np.add.at(self._sums, group, features)
        self._gaps = features[:, -ECE_BINS:].sum(0) / max(len(truth), 1)

    def weigh(self, weights: np.ndarray) -> Weighed:
        """Return the sums for each row of weights [R, groups]."""
        weights = weights.astype(float)
        hits, alarms = _curves(weights[:, self._group], self._fake, self._ends)
        caught, flagged, surprise, squares, *gaps = (weights @ self._sums).T
        gaps = np.stack(gaps, axis=1)
        images = (hits[:, -1] + alarms[:, -1])[:, None]
        drift = np.abs(_share(gaps, images) - self._gaps).sum(1)
        return Weighed(hits, alarms, caught, flagged, surprise, squares, gaps, drift)

    def values(self, names: Sequence[str]) -> dict[str, float]:
        """Return each metric, every image counted once."""
        sums = self.weigh(np.ones((1, self.n_groups)))
        return {name: float(METRICS[name](sums)[0]) for name in names}

    def resampled(self, names: Sequence[str], n_resamples: int, seed: int) -> pd.DataFrame:
        """Return a row a resample of the groups, a column a metric (or `drift`, see `Weighed`)."""
        blocks = [
            np.column_stack([_ALL[name](sums) for name in names])
            for sums in map(self.weigh, self._draws(n_resamples, seed))
        ]
        return pd.DataFrame(np.concatenate(blocks), columns=list(names))

    def _draws(self, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
        """Yield how often each group is drawn, in blocks [R, groups], so that memory stays bounded."""
        if not self.n_groups:
            yield np.zeros((n_resamples, 0))
            return
        rng, chance = np.random.default_rng(seed), np.full(self.n_groups, 1 / self.n_groups)
        size = max(1, _BLOCK // len(self._group))
        for start in range(0, n_resamples, size):
            yield rng.multinomial(self.n_groups, chance, size=min(size, n_resamples - start))


def bootstrap_metrics(
    predictions: pd.DataFrame,
    metrics: Sequence[str] | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    threshold: float | None = None,
) -> pd.DataFrame:
    """Compute metrics with intervals that resample *groups*: images of one source are not independent.

    The ends are percentiles of the resamples (Efron & Tibshirani 1993), but for the ECE, see `_ece_ends`. A
    resample without a class that the metric needs does not count. Resamples know no error that the images do
    not show: the interval of an accuracy of 1 is a point.

    Args:
        predictions: See `tables.predictions_table`; the order of its rows does not matter. An image
            without a group stands for itself; one without a label is left out.
        metrics: Names out of `METRICS`; all when not given.
        n_resamples: Bootstrap samples.
        level: Coverage of the intervals.
        seed: Draws the samples.
        threshold: An image is called fake from this `p_fake` on; the table's own when not given.

    Returns:
        Index `metric`; columns `value`, `low`, `high`, `n` (images) and `n_groups`. NaN where a class is
        missing.

    Raises:
        DfdError: A column is missing, `p_fake` is not between 0 and 1, an unknown metric, no resamples, or a
            level that is not between 0 and 1.
    """
    check_resampling(n_resamples, level)
    names = known_metrics(metrics)
    sample, n = sample_of(predictions, threshold)
    values = sample.values(names)
    resampled = sample.resampled((*names, "drift"), n_resamples, seed)
    ends = {name: ends_of(resampled[name], level) for name in names}
    if "ece" in ends:
        ends["ece"] = _ece_ends(values["ece"], resampled, level)
    rows = {name: (values[name], *ends[name], n, sample.n_groups) for name in names}
    columns = ["value", "low", "high", "n", "n_groups"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("metric")


def with_ends(judged: pd.DataFrame) -> dict[str, float]:
    """Return a table of `bootstrap_metrics` as one row: `auc`, `auc_low`, `auc_high` and so on."""
    row = {}
    for name, one in judged.iterrows():
        row |= {name: one["value"], f"{name}_low": one["low"], f"{name}_high": one["high"]}
    return row


def ends_of(resampled: np.ndarray, level: float) -> tuple[float, float]:
    """Return the ends of the percentile interval, in what is not NaN; NaN where nothing is."""
    known = np.asarray(resampled)[np.isfinite(resampled)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def check_resampling(n_resamples: int, level: float) -> None:
    """Raise `DfdError` where there are no resamples, or the level is not between 0 and 1."""
    if n_resamples < 1 or not 0 < level < 1:
        raise DfdError(f"an interval needs resamples and a level in (0, 1), not {n_resamples} and {level}.")


def known_metrics(names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names, or all there are; refuse one that is not in `METRICS`."""
    names = tuple(METRICS) if names is None else tuple(names)
    for name in names:
        if name not in METRICS:
            raise DfdError(f"no metric is called {name!r}{did_you_mean(name, METRICS)}")
    return names


def sample_of(predictions: pd.DataFrame, threshold: float | None = None) -> tuple[Sample, int]:
    """Return the labelled images of a predictions table in their groups, and their number.

    Raises:
        DfdError: A column is missing, or `p_fake` is not between 0 and 1.
    """
    known = labelled(predictions, "group")
    if threshold is None:
        threshold = predictions.attrs.get("threshold", 0.5)
    truth, p_fake = checked_probabilities(known["label"] == "fake", known["p_fake"])
    return Sample(truth, p_fake, group_codes(known), threshold), len(known)


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
    """Return `hits` and `alarms` of `Weighed` for scores of any scale, every image counted once."""
    order = np.argsort(-score, kind="stable")
    return _curves(np.ones((1, len(score))), truth[order].astype(float), _ends(score[order]))


def equal_mass_bins(p_fake: np.ndarray, n_bins: int = ECE_BINS) -> np.ndarray:
    """Return the bin of each score, from 0: bins of about as many images each; equal scores share one."""
    edges = np.quantile(p_fake, np.arange(1, n_bins) / n_bins) if len(p_fake) else []
    return np.searchsorted(np.unique(edges), p_fake, side="right")


def _ece_ends(value: float, resampled: pd.DataFrame, level: float) -> tuple[float, float]:
    """Return the ends of an interval of the ECE, which noise in the bins lifts, in resamples even more.

    Percentiles miss a small ECE nearly always. By the triangle inequality the ECE of resamples strays no
    further from the value than `drift`: that gives the lower end. The upper one is reflected.
    """
    low = value - ends_of(resampled["drift"], level)[1]
    high = 2 * value - ends_of(resampled["ece"], level)[0]
    return float(np.maximum(0, low)), float(np.maximum(value, high))


def _ends(ordered: np.ndarray) -> np.ndarray:
    """Return the place of the last image of each different score."""
    return np.flatnonzero(np.diff(ordered, append=np.nan) != 0)


def _curves(weights: np.ndarray, fake: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `hits` and `alarms` of images [N] in order, for each row of weights [R, N]."""
    both = np.zeros((2, len(weights), len(ends) + 1))
    for part, share in zip(both, (weights * fake, weights * (1 - fake)), strict=True):
        part[:, 1:] = np.cumsum(share, axis=1)[:, ends]
    return both[0], both[1]


def _features(truth: np.ndarray, p_fake: np.ndarray, threshold: float) -> np.ndarray:
    """Return what is summed, [N, 4 + B]: caught, flagged, log loss, squared difference, gaps by bin."""
    called, gap = p_fake >= threshold, p_fake - truth
    bounded = np.clip(np.where(truth == 1, p_fake, 1 - p_fake), 1e-12, 1)
    bins = np.where(equal_mass_bins(p_fake)[:, None] == np.arange(ECE_BINS), gap[:, None], 0)
    sums = [called & (truth == 1), called & (truth == 0), -np.log(bounded), gap**2]
    return np.column_stack([*sums, bins])


def _real_accuracy(sums: Weighed) -> np.ndarray:
    return _share(sums.reals - sums.flagged, sums.reals)


def _fake_accuracy(sums: Weighed) -> np.ndarray:
    return _share(sums.caught, sums.fakes)


def _f1(sums: Weighed) -> np.ndarray:
    """Return F1; 0, not NaN, where nothing is fake and nothing is called so."""
    found = _share(2 * sums.caught, sums.fakes + sums.caught + sums.flagged)
    return np.where(sums.fakes + sums.reals > 0, np.nan_to_num(found), np.nan)


def _mean(total: np.ndarray, sums: Weighed) -> np.ndarray:
    return _share(total, sums.fakes + sums.reals)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
