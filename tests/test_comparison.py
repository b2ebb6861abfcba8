"""Comparisons: against published numbers, definitions written out, and their own error rates."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import binom, chi2, norm
from sklearn.metrics import roc_auc_score

from dfdlib import DfdError, intervals
from dfdlib.comparison import delong, mcnemar, paired_bootstrap

# 43 patients of DeLong et al. 1988: albumin, total protein, K-G score, benefit from surgery.
PATIENTS = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1
3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0
2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1
3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0
3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1
3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


@pytest.fixture(autouse=True)
def _no_warnings(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn]


def two(n=200, seed=0, better=1.0, decimals=6):
    """Truth and the correlated scores of two detectors."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.4).astype(int)
    shared = rng.normal(0, 1, n)
    a = truth + shared + rng.normal(0, 0.7, n)
    b = better * truth + shared + rng.normal(0, 0.7, n)
    return truth, a.round(decimals), b.round(decimals)


def tables(n=200, seed=0, better=1.0, group_size=1):
    truth, *scores = two(n, seed, better)
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(n)],
            "label": np.where(truth == 1, "fake", "real"),
            "group": [f"g{i // group_size}" for i in range(n)],
        }
    )
    return [table.assign(p_fake=expit(score - 0.5)) for score in scores]


def test_delong_agrees_with_the_published_example():
    albumin, protein, score, truth = np.array(PATIENTS.split(), float).reshape(-1, 4).T
    first = delong(truth, 10 - score, albumin)
    assert (round(first.a, 4), round(first.b, 4), round(first.difference, 4)) == (0.7258, 0.7366, 0.0108)
    assert (round(first.low, 4), round(first.high, 4), round(first.p_value, 4)) == (-0.1761, 0.1976, 0.9102)
    second = delong(truth, 10 - score, protein)
    assert (round(second.b, 4), round(second.difference, 4), round(second.p_value, 4)) == (
        0.6478,
        -0.078,
        0.4561,
    )
    assert second.n == 43


@pytest.mark.parametrize("decimals", [0, 6])
def test_delong_agrees_with_its_definition(decimals):
    truth, a, b = two(80, decimals=decimals)
    wins = []
    for score in (a, b):
        gaps = score[truth == 1][:, None] - score[truth == 0]
        wins.append((gaps > 0) + 0.5 * (gaps == 0))
    m, n = wins[0].shape
    variance = np.cov(*[w.mean(1) for w in wins]) / m + np.cov(*[w.mean(0) for w in wins]) / n
    error = np.sqrt(variance[0, 0] + variance[1, 1] - 2 * variance[0, 1])
    result = delong(truth, a, b, level=0.9)
    difference = roc_auc_score(truth, b) - roc_auc_score(truth, a)
    assert result.difference == pytest.approx(difference)
    assert result.high - result.low == pytest.approx(2 * norm.ppf(0.95) * error)
    assert result.p_value == pytest.approx(2 * norm.cdf(-abs(difference) / error))


def test_delong_swaps_with_its_detectors_and_ignores_scale():
    truth, a, b = two(better=2)
    result, swapped = delong(truth, a, b), delong(truth, np.exp(b), 3 * a)
    assert swapped.difference == pytest.approx(-result.difference)
    assert (swapped.low, swapped.high) == pytest.approx((-result.high, -result.low))
    assert swapped.p_value == pytest.approx(result.p_value)
    assert result.p_value < 0.001 < result.low < result.difference < result.high


@pytest.mark.parametrize("test", ["delong", "mcnemar", "bootstrap"])
def test_equal_detectors_are_told_apart_as_seldom_as_promised(test):
    def p_value(seed):
        if test == "bootstrap":
            return paired_bootstrap(*tables(seed=seed), "accuracy", 200).p_value
        truth, a, b = two(seed=seed)
        return (delong(truth, a, b) if test == "delong" else mcnemar(truth, a > 0.5, b > 0.5)).p_value

    assert np.mean([p_value(seed) < 0.1 for seed in range(150)]) < 0.16  # 0.1 is meant


def test_edges_of_delong():
    truth, a, _ = two(30)
    same = delong(truth, a, a)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    perfect = delong([0, 0, 1, 1], [0, 1, 2, 3], [3, 2, 1, 0])  # sure, for all that the ranks show
    assert (perfect.difference, perfect.p_value) == (-1, 0)
    single = delong([0, 0, 1], [0, 1, 2], [0, 2, 1])
    assert (single.a, single.b) == (1, 0.5)
    assert np.isnan([single.low, single.high, single.p_value]).all()
    assert np.isnan(delong([1, 1], [0, 1], [1, 0]).difference)
    assert np.isnan(delong([], [], []).a)


def mcnemar_of(both, only_a, only_b, neither, **options):
    a = np.repeat([1, 1, 0, 0], [both, only_a, only_b, neither])
    b = np.repeat([1, 0, 1, 0], [both, only_a, only_b, neither])
    return mcnemar(np.ones(len(a)), a, b, **options)


def test_mcnemar_agrees_with_its_definition():
    exact, squared = mcnemar_of(40, 12, 4, 8), mcnemar_of(40, 12, 4, 8, exact=False)
    assert exact.p_value == pytest.approx(2 * sum(binom.pmf(i, 16, 0.5) for i in range(5)))
    assert squared.p_value == pytest.approx(1 - chi2.cdf((8 - 1) ** 2 / 16, 1))
    for result in (exact, squared):
        assert (result.a, result.b, result.n) == (52 / 64, 44 / 64, 64)
        assert result.difference == pytest.approx(-8 / 64)
        # the interval of Agresti & Min, written out
        spread = 1.959964 * np.sqrt((12.5 + 4.5) - (12.5 - 4.5) ** 2 / 66) / 66
        assert (result.low, result.high) == pytest.approx((-8 / 66 - spread, -8 / 66 + spread))


def test_mcnemar_of_a_large_table_does_not_depend_on_the_test():
    """Approval ratings of Agresti, Categorical Data Analysis, table 10.1: z² = 17.36 without correction."""
    exact, squared = mcnemar_of(794, 150, 86, 570), mcnemar_of(794, 150, 86, 570, exact=False)
    assert exact.p_value == pytest.approx(squared.p_value, rel=0.15)
    assert squared.p_value == pytest.approx(chi2.sf(63**2 / 236, 1))
    assert squared.difference == pytest.approx(-0.04)


def test_edges_of_mcnemar():
    alike = mcnemar_of(5, 0, 0, 3)
    assert (alike.difference, alike.p_value) == (0, 1)
    assert alike.low < 0 < alike.high
    assert mcnemar_of(5, 1, 1, 3, exact=False).p_value == 1
    none = mcnemar([], [], [])
    assert none.n == 0
    assert np.isnan([none.a, none.difference, none.p_value]).all()
    with pytest.raises(DfdError, match="verdicts must be 0"):
        mcnemar([0, 1], [0.2, 0.7], [0, 1])
    with pytest.raises(DfdError, match="same length"):
        mcnemar([0, 1], [0, 1], [0, 1, 1])


@pytest.mark.parametrize("metric", ["auc", "accuracy", "ece", "tpr_at_5_fpr"])
def test_the_paired_bootstrap_agrees_with_a_loop(metric):
    a, b = tables(60, group_size=3)
    result = paired_bootstrap(a, b, metric, n_resamples=40, level=0.9, seed=2)
    samples = [intervals.sample_of(table)[0] for table in (a, b)]
    values = []
    for draws in np.random.default_rng(2).multinomial(20, np.full(20, 1 / 20), size=40):
        one, other = (intervals.METRICS[metric](sample.weigh(draws[None]))[0] for sample in samples)
        values.append(other - one)
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])))
    tail = min(np.mean(np.array(values) <= 0), np.mean(np.array(values) >= 0))
    assert result.p_value == pytest.approx(min(1, 2 * max(tail, 1 / 40)))


def test_pairs_share_their_luck():
    a, b = tables(400, better=1.1)
    paired = paired_bootstrap(a, b)
    ends = [intervals.bootstrap_metrics(table, ["auc"]).loc["auc"] for table in (a, b)]
    alone = np.hypot(*[end["high"] - end["low"] for end in ends])
    assert paired.high - paired.low < 0.75 * alone
    test = delong((a["label"] == "fake"), a["p_fake"], b["p_fake"])
    assert (paired.low, paired.high) == pytest.approx((test.low, test.high), abs=0.006)


def test_order_and_groups_of_the_second_table_do_not_matter():
    a, b = tables(90, group_size=3)
    shuffled = b.sample(frac=1, random_state=0).assign(group="one")
    assert paired_bootstrap(a, shuffled, n_resamples=50) == paired_bootstrap(a, b, n_resamples=50)


def test_each_detector_keeps_its_threshold():
    a, b = tables(90)
    a.attrs["threshold"], b.attrs["threshold"] = 0.3, 0.7
    result = paired_bootstrap(a, b.sample(frac=1, random_state=0), "accuracy", n_resamples=20)
    truth = a["label"] == "fake"
    assert result.a == pytest.approx(((a["p_fake"] >= 0.3) == truth).mean())
    assert result.b == pytest.approx(((b["p_fake"] >= 0.7) == truth).mean())


def test_copies_within_a_group_do_not_make_a_difference_sure():
    a, b = tables(60)
    few = paired_bootstrap(a, b)
    copies = [
        pd.concat([t] * 5, ignore_index=True).assign(path=[f"{i}.png" for i in range(300)]) for t in (a, b)
    ]
    many = paired_bootstrap(*copies)
    assert (many.low, many.high, many.p_value) == pytest.approx((few.low, few.high, few.p_value))


def test_edges_of_the_paired_bootstrap():
    a, b = tables(30)
    same = paired_bootstrap(a, a, n_resamples=50)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    assert paired_bootstrap(*tables(300, better=4), n_resamples=50).p_value == 2 / 50
    fakes = [table[table["label"] == "fake"] for table in (a, b)]
    assert np.isnan(paired_bootstrap(*fakes, n_resamples=20).p_value)
    assert np.isfinite(paired_bootstrap(*fakes, "accuracy", n_resamples=20).p_value)


def test_tables_of_different_images_are_refused():
    a, b = tables(10)
    with pytest.raises(DfdError, match=r"9\.png is in one table alone"):
        paired_bootstrap(a, b.head(9))
    with pytest.raises(DfdError, match=r"9\.png is in one table alone, or twice"):
        paired_bootstrap(a, pd.concat([b, b.tail(1)]))
    with pytest.raises(DfdError, match="real in one table and fake in the other"):
        paired_bootstrap(a, b.assign(label=b["label"].iloc[::-1].to_numpy()))
    with pytest.raises(DfdError, match="no metric is called"):
        paired_bootstrap(a, b, "precision")
    with pytest.raises(DfdError, match="an interval needs"):
        paired_bootstrap(a, b, n_resamples=0)


def test_a_comparison_reads_aloud():
    text = str(mcnemar_of(40, 12, 4, 8))
    assert text == (
        "accuracy: 0.812 → 0.688, difference -0.125 [-0.240, -0.002], p = 0.077 (McNemar, exact, n = 64)"
    )
