"""What probabilities are worth: reliability, thresholds with a guaranteed false-alarm rate, and when to say "can't tell"."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_expit
from scipy.stats import binomtest, norm
from sklearn.isotonic import IsotonicRegression

from dfdlib.core.errors import DfdError
from dfdlib.evaluation.metrics import (
    ECE_BINS,
    checked,
    checked_probabilities,
    equal_mass_bins,
    group_codes,
    labelled,
)
from dfdlib.models.decision import Decision

TEMPERATURES = (0.25, 10.0)
"""Range of a fitted temperature; perfectly separable validation images would drive it to 0."""


def choose_threshold(truth: np.ndarray, p_fake: np.ndarray) -> float:
    """Choose the threshold of the best balanced accuracy, on validation images.

    Args:
        truth: [N], 1 fake, 0 real.
        p_fake: [N], 0 to 1.

    Returns:
        The middle of the widest of the best gaps between two scores; 0.5 where only one class is present.
    """
    truth, p_fake = checked(truth, p_fake)
    if not 0 < truth.sum() < len(truth):
        return 0.5
    order = np.argsort(p_fake, kind="stable")
    scores = p_fake[order]
    misses = np.concatenate([[0.0], np.cumsum(truth[order]) / truth.sum()])
    false_alarms = 1 - np.concatenate([[0.0], np.cumsum(1 - truth[order]) / (1 - truth).sum()])
    cuts = np.concatenate([[True], np.diff(scores) > 0, [True]])  # between different scores only
    errors = np.where(cuts, misses + false_alarms, np.inf)
    edges = np.concatenate([[0.0], scores, [1.0]])
    widths = np.diff(edges)
    best = np.flatnonzero(errors <= errors.min() + 1e-12)
    cut = best[np.argmax(widths[best])]
    return _between(edges[cut], edges[cut + 1])


def fit_temperature(truth: np.ndarray, logits: np.ndarray) -> float:
    """Fit the temperature that minimises the log loss on validation images (Guo et al. 2017).

    Args:
        truth: [N], 1 fake, 0 real.
        logits: [N], before the sigmoid.

    Returns:
        A value in `TEMPERATURES`; 1 where only one class is present.
    """
    truth, logits = checked(truth, logits)
    if not 0 < truth.sum() < len(truth):
        return 1.0
    signed = np.where(truth == 1, logits, -logits)
    fitted = minimize_scalar(
        lambda log_t: -log_expit(signed / np.exp(log_t)).mean(), bounds=np.log(TEMPERATURES), method="bounded"
    )
    return float(np.exp(fitted.x))


_KEPT_REALS = 200
_ABOVE_ONE = float(np.nextafter(1, 2))


def reliability(predictions: pd.DataFrame, n_bins: int = ECE_BINS, level: float = 0.95) -> pd.DataFrame:
    """Compare what was said with what was so: the share of fakes among images of about the same `p_fake`.

    Args:
        predictions: See `tables.predictions_table`; rows without a label are left out.
        n_bins: Bins of about as many images each; equal scores share one, so there can be fewer.
        level: Coverage of the intervals (Wilson 1927), which count each *group* of a bin as one image.

    Returns:
        One row per bin: `p_fake` (mean), `share_fake`, `low`, `high` (interval of the share), `n`, `n_groups`.

    Raises:
        DfdError: A column is missing, nothing is labelled, no bins, or `p_fake` is not between 0 and 1.
    """
    known = labelled(predictions, "group")
    if known.empty or n_bins < 1:
        raise DfdError(f"reliability needs labelled images and bins, not {len(known)} and {n_bins}.")
    truth, p_fake = checked_probabilities(known["label"] == "fake", known["p_fake"])
    rows = pd.DataFrame({"p_fake": p_fake, "share_fake": truth, "group": group_codes(known)})
    bins = rows.groupby(equal_mass_bins(p_fake, n_bins))
    table, n_groups = bins[["p_fake", "share_fake"]].mean(), bins["group"].nunique()
    table["low"], table["high"] = _wilson(table["share_fake"], n_groups, level)
    return table.assign(n=bins.size(), n_groups=n_groups).reset_index(drop=True)


def threshold_for_false_alarms(truth: np.ndarray, p_fake: np.ndarray, rate: float = 0.01) -> float:
    """Choose the lowest threshold that calls at most a share `rate` of the real validation images fake.

    Fewer real images than `1 / rate` cannot show such a rate: none of them is then called fake, and with
    none in n the rate can still be about 3 / n.

    Args:
        truth: [N], 1 fake, 0 real.
        p_fake: [N], 0 to 1.
        rate: 0 to 1.

    Returns:
        The middle of the gap below the next higher score; an image is called fake from it on.

    Raises:
        DfdError: No real image, a rate that is not between 0 and 1, or real images at the score of 1, which
            no threshold passes by.
    """
    truth, p_fake = checked_probabilities(truth, p_fake)
    reals = np.sort(p_fake[truth == 0])[::-1]
    if not len(reals) or not 0 <= rate < 1:
        raise DfdError(f"a false-alarm rate in [0, 1) needs real images, not {rate} and {len(reals)} images.")
    lower = reals[int(rate * len(reals) + 1e-9)]  # the highest real score that must stay below
    if lower == 1:
        raise DfdError(
            f"{(reals == 1).sum()} of {len(reals)} real images have a p_fake of 1: no threshold keeps false "
            f"alarms at {rate:.1%}. Allow more, or train a better detector."
        )
    higher = p_fake[p_fake > lower]
    return _between(lower, higher.min() if len(higher) else 1.0)


def abstain_band(
    truth: np.ndarray, p_fake: np.ndarray, threshold: float = 0.5, min_accuracy: float = 0.9
) -> tuple[float, float]:
    """Find the band around the threshold where verdicts are right too seldom, on validation images.

    On each side of the threshold the chance of a right verdict is fitted as a function that rises with the
    distance (isotonic regression, Zadrozny & Elkan 2002). The band ends where it reaches `min_accuracy`. The
    chance depends on the share of fakes, so validation images should have that of the use.

    Args:
        truth: [N], 1 fake, 0 real.
        p_fake: [N], 0 to 1.
        threshold: An image is called fake from this `p_fake` on; between 0 and 1.
        min_accuracy: 0 to 1. Up to 0.5 leaves next to no band.

    Returns:
        The band, see `Decision.band`: 0 as its lower end where no real verdict is sure enough, more than 1 as
        its upper one where no fake verdict is, and both at the threshold where every verdict is good enough.

    Raises:
        DfdError: No image, or a threshold or accuracy out of its range.
    """
    truth, p_fake = checked_probabilities(truth, p_fake)
    if not len(truth) or not 0 < threshold <= 1 or not 0 <= min_accuracy <= 1:
        raise DfdError(
            f"a band needs images, a threshold and an accuracy between 0 and 1, not {len(truth)}, {threshold} "
            f"and {min_accuracy}."
        )
    called = Decision(threshold).is_fake(p_fake)
    right = called == truth
    low = _edge(p_fake[~called], right[~called], min_accuracy, rising=False, empty=threshold, whole=0.0)
    high = _edge(p_fake[called], right[called], min_accuracy, rising=True, empty=threshold, whole=_ABOVE_ONE)
    return low, high


def false_alarms_below(n_false_alarms: int, n_real: int, level: float = 0.95) -> float:
    """Return what a rate of false alarms is below, given how many there were among `n_real` real images.

    The one-sided bound of Clopper & Pearson (1934): with none in n it is about 3 / n.

    Args:
        n_false_alarms: 0 to `n_real`.
        n_real: Independent real images, at least 1.
        level: Its coverage.
    """
    interval = binomtest(n_false_alarms, n_real, alternative="less").proportion_ci(level, "exact")
    return float(interval.high)


def calibrate(
    truth: np.ndarray,
    logits: np.ndarray,
    false_alarms: float | None = None,
    min_accuracy: float = 0.9,
    groups: np.ndarray | None = None,
) -> Decision:
    """Fit temperature, threshold and band to validation images, and keep the logits of the real ones.

    Of more than 200 real images, 200 are kept, spread evenly over their ranks.

    Args:
        truth: [N], 1 fake, 0 real; where one is missing, the temperature stays 1 and the threshold 0.5.
        logits: float [N], as the network returns them.
        false_alarms: Call at most this share of real images fake, see `threshold_for_false_alarms`; by
            default the threshold has the best balanced accuracy. About `3 / false_alarms` real images are needed.
        min_accuracy: Of the verdicts beyond the band, see `abstain_band`.
        groups: [N]; images of one group count as one image. Each its own when not given.

    Raises:
        DfdError: No image, or too few real ones to show such a rate of false alarms.
    """
    if false_alarms is not None:
        real = np.flatnonzero(np.asarray(truth) == 0)
        n_real = len(real if groups is None else set(np.asarray(groups)[real]))
        if false_alarms <= 0 or n_real < round(3 / false_alarms):
            needed = f"about {round(3 / false_alarms):,}" if false_alarms > 0 else "infinitely many"
            raise DfdError(
                f"there are {n_real} real images of different sources, and {needed} are needed to show a false-alarm rate "
                f"of {false_alarms:.2%}; calibrate on more, or allow more false alarms."
            )
    reals = np.sort(np.asarray(logits, np.float64)[np.asarray(truth) == 0])
    ranks = np.linspace(0, len(reals) - 1, min(len(reals), _KEPT_REALS)).round().astype(int)
    kept = tuple(reals[ranks].tolist())
    plain = Decision(temperature=fit_temperature(truth, logits), real_logits=kept)
    p_fake = plain.p_fake(logits)
    if false_alarms is None:
        threshold = choose_threshold(truth, p_fake)
    else:
        threshold = threshold_for_false_alarms(truth, p_fake, false_alarms)
    return replace(plain, threshold=threshold, band=abstain_band(truth, p_fake, threshold, min_accuracy))


def _edge(
    score: np.ndarray, right: np.ndarray, least: float, rising: bool, empty: float, whole: float
) -> float:
    """Return where verdicts of one side of the threshold begin; `rising` with the score or against it."""
    if not len(score):
        return whole  # nothing shows that such a verdict would be right
    chance = IsotonicRegression(increasing=rising).fit_transform(score, right)
    sure, unsure = score[chance >= least - 1e-12], score[chance < least - 1e-12]
    if not len(sure):
        return whole
    if not len(unsure):
        return empty
    return _between(unsure.max(), sure.min()) if rising else _between(sure.max(), unsure.min())


def _between(lower: float, upper: float) -> float:
    """Return the middle, or the upper of two neighbouring numbers: a middle can round down onto the lower."""
    middle = (lower + upper) / 2
    return float(middle if middle > lower else upper)


def _wilson(share: pd.Series, n: pd.Series, level: float) -> tuple[pd.Series, pd.Series]:
    """Return the ends of the score interval of a share of n."""
    z = norm.ppf((1 + level) / 2)
    centre, spread = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return (centre - spread) / (1 + z**2 / n), (centre + spread) / (1 + z**2 / n)
