"""Metrics: right on unsorted labels, at the limits, and beside scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from dfdlib import DfdError, metrics

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 2, 500)
SCORE = np.clip(TRUTH * 0.3 + RNG.random(500) * 0.7, 0, 1).round(2)  # unsorted, with ties


def predictions(truth=TRUTH, score=SCORE, groups=None, threshold=0.5):
    n = len(truth)
    table = pd.DataFrame(
        {
            "path": [f"{i}.jpg" for i in range(n)],
            "label": np.where(truth == 1, "fake", "real"),
            "category": ["a", "b"] * (n // 2) + ["a"] * (n % 2),
            "group": [str(i) for i in range(n)] if groups is None else groups,
            "generator": pd.Series(
                np.where(truth == 1, np.where(np.arange(n) % 3 == 0, "x", "y"), None), dtype=object
            ),
            "p_fake": score,
        }
    )
    table["predicted"] = np.where(score >= threshold, "fake", "real")
    table["predicted_category"] = "a"
    table.attrs["threshold"] = threshold
    return table


def test_scikit_learn_agrees():
    assert metrics.auc(TRUTH, SCORE) == pytest.approx(reference.roc_auc_score(TRUTH, SCORE))
    assert metrics.average_precision(TRUTH, SCORE) == pytest.approx(
        reference.average_precision_score(TRUTH, SCORE)
    )
    ours = metrics.binary_metrics(predictions(threshold=0.4))
    called = SCORE >= 0.4
    assert ours["accuracy"] == pytest.approx(reference.accuracy_score(TRUTH, called))
    assert ours["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(TRUTH, called))
    assert ours["f1"] == pytest.approx(reference.f1_score(TRUTH, called))
    assert ours["fake_accuracy"] == pytest.approx(reference.recall_score(TRUTH, called))
    assert ours["brier"] == pytest.approx(reference.brier_score_loss(TRUTH, SCORE))
    bounded = np.clip(SCORE, 1e-12, 1 - 1e-12)
    assert ours["log_loss"] == pytest.approx(reference.log_loss(TRUTH, bounded))
    assert ours["category_accuracy"] == 0.5
    assert (ours["n"], ours["n_real"], ours["n_fake"]) == (500, (TRUTH == 0).sum(), TRUTH.sum())


def test_eer_is_where_misses_equal_false_alarms():
    false_alarms, hits, _ = reference.roc_curve(TRUTH, SCORE, drop_intermediate=False)
    fine = np.linspace(0, 1, 200_001)
    crossing = fine[np.argmin(np.abs(fine - (1 - np.interp(fine, false_alarms, hits))))]
    assert metrics.eer(TRUTH, SCORE) == pytest.approx(crossing, abs=1e-4)


@pytest.mark.parametrize(
    ("score", "auc", "eer"),
    [([0, 0, 1, 1], 1, 0), ([1, 1, 0, 0], 0, 1), ([0.3] * 4, 0.5, 0.5)],
    ids=["perfect", "reversed", "constant"],
)
def test_the_limits(score, auc, eer):
    truth = [0, 0, 1, 1]
    assert metrics.auc(truth, score) == auc
    assert metrics.eer(truth, score) == pytest.approx(eer)


@pytest.mark.parametrize("truth", [[1], [0], [1, 1], []])
def test_one_class_has_no_ranking_metric_and_gives_no_warning(truth, recwarn):
    score = [0.5] * len(truth)
    assert np.isnan(metrics.auc(truth, score))
    assert np.isnan(metrics.eer(truth, score))
    assert np.isnan(metrics.average_precision(truth, score))
    metrics.binary_metrics(predictions(np.array(truth, int), np.array(score)))
    assert not recwarn.list


def test_nan_scores_are_refused():
    with pytest.raises(DfdError, match="1 of 2 scores are NaN"):
        metrics.auc([0, 1], [0.5, np.nan])


def test_unlabelled_rows_are_left_out():
    table = predictions()
    table.loc[::2, "label"] = None
    assert metrics.binary_metrics(table)["n"] == 250


def test_the_interval_covers_and_narrows_with_n():
    low, high = metrics.auc_interval(predictions())
    assert low < metrics.auc(TRUTH, SCORE) < high
    twice = np.tile(TRUTH, 4), np.tile(SCORE, 4)
    wide, narrow = high - low, np.diff(metrics.auc_interval(predictions(*twice)))[0]
    assert narrow == pytest.approx(wide / 2, rel=0.25)


def test_the_interval_resamples_groups_not_images():
    once = metrics.auc_interval(predictions())
    copies = predictions(np.tile(TRUTH, 4), np.tile(SCORE, 4), groups=[str(i % 500) for i in range(2000)])
    assert metrics.auc_interval(copies) == pytest.approx(once, abs=0.01), "copies in a group add no knowledge"


def test_the_interval_agrees_with_a_plain_bootstrap():
    rng = np.random.default_rng(5)
    plain = []
    for _ in range(800):
        chosen = rng.integers(0, 500, 500)
        plain.append(reference.roc_auc_score(TRUTH[chosen], SCORE[chosen]))
    assert metrics.auc_interval(predictions()) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.008)


def test_each_generator_meets_all_reals():
    table = metrics.by_generator(predictions())
    mine = predictions()
    part = mine[(mine["label"] == "real") | (mine["generator"] == "x")]
    assert table.loc["x", "auc"] == pytest.approx(
        reference.roc_auc_score(part["label"] == "fake", part["p_fake"])
    )
    assert table["n"].sum() == TRUTH.sum()


def test_categories_are_judged_apart():
    table = metrics.by_category(predictions())
    assert list(table.index) == ["a", "b"]
    assert table["n"].sum() == 500


def test_the_threshold_is_the_best_there_is():
    best = metrics.choose_threshold(TRUTH, SCORE)
    reached = reference.balanced_accuracy_score(TRUTH, best <= SCORE)
    assert reached == max(
        reference.balanced_accuracy_score(TRUTH, t <= SCORE) for t in np.linspace(0, 1.001, 2000)
    )


def test_the_threshold_lies_in_the_middle_of_a_gap():
    assert metrics.choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)
    assert metrics.choose_threshold([1, 1], [0.1, 0.2]) == 0.5


def test_the_temperature_is_recovered():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-logits))
    assert metrics.fit_temperature(truth, logits * 2.5) == pytest.approx(2.5, rel=0.05)
    assert metrics.fit_temperature(truth, logits) == pytest.approx(1.0, rel=0.05)


def test_the_temperature_stays_in_its_range_on_separable_images():
    low, high = metrics.TEMPERATURES
    assert low <= metrics.fit_temperature([0, 0, 1, 1], [-3, -2, 2, 3]) <= high
    assert metrics.fit_temperature([1, 1], [2, 3]) == 1.0
