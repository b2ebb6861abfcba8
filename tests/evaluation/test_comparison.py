"""Comparisons: against published numbers, definitions written out, and their own error rates."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from dfdlib import DfdError
from dfdlib.evaluation import bootstrap
from dfdlib.evaluation.comparison import Comparison, paired_bootstrap
from dfdlib.evaluation.metrics import METRICS

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
    return [called(table.assign(p_fake=expit(score - 0.5)), 0.5) for score in scores]


def called(table, threshold):
    return table.assign(predicted=np.where(table["p_fake"] >= threshold, "fake", "real"))


def test_equal_detectors_are_told_apart_as_seldom_as_promised():
    def p_value(seed):
        return paired_bootstrap(*tables(seed=seed), "accuracy", 200).p_value

    assert np.mean([p_value(seed) < 0.1 for seed in range(150)]) < 0.16  # 0.1 is meant


@pytest.mark.parametrize("metric", ["auc", "accuracy", "ece", "tpr_at_5_fpr"])
def test_the_paired_bootstrap_agrees_with_a_loop(metric):
    a, b = tables(60, group_size=3)
    result = paired_bootstrap(a, b, metric, n_resamples=40, level=0.9, seed=2)
    samples = [bootstrap.scored_images(table)[0] for table in (a, b)]
    values = []
    for draws in np.random.default_rng(2).multinomial(20, np.full(20, 1 / 20), size=40):
        one, other = (METRICS[metric].of(sample.weigh(draws[None]))[0] for sample in samples)
        values.append(other - one)
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])))
    tail = min(np.mean(np.array(values) <= 0), np.mean(np.array(values) >= 0))
    assert result.p_value == pytest.approx(min(1, 2 * max(tail, 1 / 40)))


def test_pairs_share_their_luck():
    a, b = tables(400, better=1.1)
    paired = paired_bootstrap(a, b)
    ends = [bootstrap.bootstrap_metrics(table, ["auc"]).loc["auc"] for table in (a, b)]
    alone = np.hypot(*[end["high"] - end["low"] for end in ends])
    assert paired.high - paired.low < 0.75 * alone


def test_order_and_groups_of_the_second_table_do_not_matter():
    a, b = tables(90, group_size=3)
    shuffled = b.sample(frac=1, random_state=0).assign(group="one")
    assert paired_bootstrap(a, shuffled, n_resamples=50) == paired_bootstrap(a, b, n_resamples=50)


def test_each_detector_keeps_its_threshold():
    a, b = tables(90)
    a, b = called(a, 0.3), called(b, 0.7)
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
    with pytest.raises(DfdError, match="unknown metric `precision`"):
        paired_bootstrap(a, b, "precision")
    with pytest.raises(DfdError, match="an interval needs"):
        paired_bootstrap(a, b, n_resamples=0)


def test_a_comparison_says_who_is_ahead_where_the_images_tell():
    a, b = tables(300, better=4)
    assert paired_bootstrap(a, b).reading("one", "two").startswith("two is ahead of one: AUC 0.")
    assert paired_bootstrap(b, a).reading("two", "one").startswith("one is behind two: AUC 0.")
    assert "one and two cannot be told apart" in paired_bootstrap(a, a).reading("one", "two")
    fakes = [table[table["label"] == "fake"] for table in (a, b)]
    assert "one and two cannot be told apart" in paired_bootstrap(*fakes).reading("one", "two")


def test_a_comparison_reads_aloud():
    text = str(
        Comparison("accuracy", 0.8125, 0.6875, -0.125, -0.24, -0.002, 0.077, 64, "paired group bootstrap")
    )
    assert text == (
        "accuracy: 0.812 → 0.688, difference -0.125 [-0.240, -0.002], p = 0.077 (paired group bootstrap, n = 64)"
    )
