"""Metrics: the limits, ties and lacking classes by hand, the rest against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from sklearn import metrics as sk

from dfdlib import DfdError
from dfdlib.evaluation import calibration, metrics


@pytest.fixture(autouse=True)
def _no_warnings(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn]


def predictions(n=400, seed=0, shift=2.0, threshold=0.4):
    """A predictions table in random order; fakes of generator `b` are found more easily than those of `a`."""
    rng = np.random.default_rng(seed)
    fake = rng.random(n) < 0.4
    generator = np.where(rng.random(n) < 0.5, "a", "b")
    logit = rng.normal(0, 1.5, n) + fake * np.where(generator == "b", shift, shift / 3) - 1
    return pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(n)],
            "label": np.where(fake, "fake", "real"),
            "category": rng.choice(["animals", "vehicles"], n),
            "split": "test",
            "group": [f"g{i}" for i in range(n)],
            "generator": np.where(fake, generator, None),
            "logit": logit,
            "p_fake": expit(logit),
            "predicted": np.where(expit(logit) >= threshold, "fake", "real"),
            "threshold": threshold,
        }
    )


def test_limits():
    truth = np.array([1, 0, 1, 0, 0])
    assert metrics.auc(truth, truth) == 1
    assert metrics.auc(truth, -truth) == 0
    assert metrics.auc(truth, np.ones(5)) == 0.5
    assert metrics.average_precision(truth, truth) == 1
    assert metrics.average_precision(truth, np.ones(5)) == pytest.approx(0.4)
    assert metrics.eer(truth, truth) == 0
    assert metrics.eer(truth, -truth) == 1
    assert metrics.eer(truth, np.ones(5)) == 0.5


def test_by_hand():
    truth, score = [0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8]  # pairs: 1, 1, a tie, 1
    assert metrics.auc(truth, score) == pytest.approx(3.5 / 4)
    # the curve runs (0, 0), (0, ½), (½, 1), (1, 1): 1 - y = x at a quarter
    assert metrics.eer(truth, score) == pytest.approx(0.25)


@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_agrees_with_scikit_learn_with_ties_and_unsorted_labels(decimals):
    table = predictions(seed=decimals)
    truth, score = (table["label"] == "fake").to_numpy(), table["p_fake"].round(decimals).to_numpy()
    assert metrics.auc(truth, score) == pytest.approx(sk.roc_auc_score(truth, score))
    assert metrics.average_precision(truth, score) == pytest.approx(sk.average_precision_score(truth, score))
    x, y, _ = sk.roc_curve(truth, score)
    crossing = brentq(lambda rate: 1 - rate - np.interp(rate, x, y), 0, 1)
    assert metrics.eer(truth, score) == pytest.approx(crossing, abs=1e-9)


def test_metrics_agree_with_scikit_learn_at_the_threshold():
    table = predictions()
    truth, p_fake = (table["label"] == "fake").to_numpy(), table["p_fake"].to_numpy()
    called = p_fake >= 0.4
    assert metrics.binary_metrics(table) == pytest.approx(
        {
            "auc": sk.roc_auc_score(truth, p_fake),
            "ap": sk.average_precision_score(truth, p_fake),
            "eer": metrics.eer(truth, p_fake),
            "tpr_at_1_fpr": hit_rate(truth, p_fake, 0.01),
            "tpr_at_5_fpr": hit_rate(truth, p_fake, 0.05),
            "accuracy": sk.accuracy_score(truth, called),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, called),
            "f1": sk.f1_score(truth, called),
            "real_accuracy": sk.recall_score(~truth, ~called),
            "fake_accuracy": sk.recall_score(truth, called),
            "log_loss": sk.log_loss(truth, p_fake),
            "brier": sk.brier_score_loss(truth, p_fake),
            "ece": ece(truth, p_fake),
            "threshold": 0.4,
            "n": 400,
            "n_real": int((~truth).sum()),
            "n_fake": int(truth.sum()),
        }
    )


def ece(truth, p_fake):
    """Compute the calibration error in bins of equal mass, one after the other."""
    bins = metrics.equal_mass_bins(np.asarray(p_fake))
    squared = 0
    for i in np.unique(bins):
        gap = np.where(bins == i, p_fake - truth, 0)
        squared += (gap.mean() ** 2 - gap.var() / len(gap)) / (bins == i).mean()
    return np.sqrt(max(0, squared))


def tpr_at_fpr(truth, score, rate):
    return float(metrics.tpr_at_fpr(*metrics.curves(*metrics.checked(truth, score)), rate)[0])


def hit_rate(truth, score, rate):
    x, y, _ = sk.roc_curve(truth, score, drop_intermediate=False)
    return y[x <= rate + 1e-12].max()


@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("rate", [0, 0.01, 0.05, 0.5, 1])
def test_the_hit_rate_agrees_with_scikit_learn(rate, decimals):
    truth, score = _truth_and_score(predictions())
    score = score.round(decimals)
    assert tpr_at_fpr(truth, score, rate) == pytest.approx(hit_rate(truth, score, rate))


def test_the_hit_rate_by_hand():
    truth, score = [0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.6, 0.9, 0.5, 0.7, 0.9, 0.95]
    assert tpr_at_fpr(truth, score, 0) == 0.25  # 0.9 is shared with a real image
    assert tpr_at_fpr(truth, score, 0.25) == 0.75
    assert tpr_at_fpr(truth, score, 0.49) == 0.75
    assert tpr_at_fpr(truth, score, 0.5) == 1
    assert np.isnan(tpr_at_fpr([1, 1], [0.2, 0.3], 0.05))
    assert np.isnan(tpr_at_fpr([0, 0], [0.2, 0.3], 0.05))


def test_order_does_not_matter():
    table = predictions()
    shuffled = table.sample(frac=1, random_state=1)
    assert metrics.binary_metrics(shuffled) == pytest.approx(metrics.binary_metrics(table))


def test_swapped_labels_turn_the_numbers_round():
    table = predictions()
    swapped = table.assign(label=table["label"].map({"real": "fake", "fake": "real"}))
    right, wrong = metrics.binary_metrics(table), metrics.binary_metrics(swapped)
    assert wrong["auc"] == pytest.approx(1 - right["auc"])
    assert wrong["accuracy"] == pytest.approx(1 - right["accuracy"])


def test_what_an_image_was_called_is_taken_from_the_table():
    table = pd.DataFrame({"label": ["fake", "real"], "p_fake": [0.5, 0.5], "predicted": "fake"})
    assert metrics.binary_metrics(table)["fake_accuracy"] == 1
    assert metrics.binary_metrics(table)["real_accuracy"] == 0
    assert np.isnan(metrics.binary_metrics(table)["threshold"]), "a threshold that is not stated"
    called_real = metrics.binary_metrics(table.assign(predicted="real", threshold=0.6))
    assert (called_real["fake_accuracy"], called_real["threshold"]) == (0, 0.6)


@pytest.mark.parametrize("label", ["real", "fake"])
def test_one_class_has_an_accuracy_but_no_ranking(label):
    table = predictions()
    scores = metrics.binary_metrics(table[table["label"] == label])
    for name in ("auc", "ap", "eer", "balanced_accuracy", "tpr_at_1_fpr", "tpr_at_5_fpr"):
        assert np.isnan(scores[name])
    assert 0 < scores["accuracy"] == scores[f"{label}_accuracy"]


def test_one_image_and_none():
    assert metrics.binary_metrics(predictions().head(1))["n"] == 1
    scores = metrics.binary_metrics(predictions().head(0))
    assert scores["n"] == 0
    assert np.isnan([scores[name] for name in metrics.METRICS]).all()


def test_images_without_a_label_are_left_out():
    table = predictions()
    more = table.assign(label=None, p_fake=0.99)
    both = pd.concat([more, table], ignore_index=True)
    assert metrics.binary_metrics(both) == pytest.approx(metrics.binary_metrics(table))
    assert metrics.by_category(both).equals(metrics.by_category(table))


def test_category_accuracy_counts_known_categories_alone():
    table = predictions(4)
    table["category"] = ["animals", "vehicles", None, "animals"]
    table["predicted_category"] = ["animals", "animals", "vehicles", "animals"]
    scores = metrics.binary_metrics(table)
    assert scores["category_accuracy"] == pytest.approx(2 / 3)
    assert scores["n_category"] == 3


@pytest.mark.parametrize(
    ("truth", "score", "message"),
    [
        ([1, 0], [0.1, np.nan], "1 of 2 scores are NaN or infinite"),
        ([1, 0], [0.1, np.inf], "NaN or infinite"),
        ([1, None], [0.1, 0.2], "labels must be 0"),
        ([1, np.nan], [0.1, 0.2], "labels must be 0"),
        ([1, 2], [0.1, 0.2], "labels must be 0"),
        (["fake", "real"], [0.1, 0.2], "labels must be 0"),
        ([1, 0, 1], [0.1, 0.2], "same length"),
    ],
)
def test_broken_scores_and_labels_are_refused(truth, score, message):
    for function in (metrics.auc, metrics.average_precision, metrics.eer, calibration.choose_threshold):
        with pytest.raises(DfdError, match=message):
            function(truth, score)


def test_broken_tables_are_refused():
    table = predictions(20)
    for column in ("p_fake", "predicted", "label"):
        with pytest.raises(DfdError, match=f"lack the columns {column}"):
            metrics.binary_metrics(table.drop(columns=column))
    with pytest.raises(DfdError, match="look like logits"):
        metrics.binary_metrics(table.assign(p_fake=table["logit"]))


def test_by_category_is_binary_metrics_of_each_at_the_tables_threshold():
    table = predictions()
    result = metrics.by_category(table)
    assert result["threshold"].tolist() == [0.4, 0.4]
    assert result["n"].sum() == 400
    animals = metrics.binary_metrics(table[table["category"] == "animals"])
    assert result.loc["animals"].to_dict() == pytest.approx(animals)
    assert metrics.by_category(table.assign(category=None)).empty


def _truth_and_score(table):
    return (table["label"] == "fake").to_numpy(), table["p_fake"].to_numpy()


def test_the_calibration_error_is_that_of_the_bins():
    def error(truth, p_fake):
        table = pd.DataFrame(
            {"label": np.where(truth, "fake", "real"), "p_fake": p_fake, "predicted": "fake"}
        )
        return metrics.binary_metrics(table)["ece"]

    assert error([0, 1, 1, 1], [0.5] * 4) == pytest.approx(0.125)  # 0.25 with the noise of four images
    assert error([1], [0.9]) == pytest.approx(0.1)
    assert np.isnan(error(np.empty(0, bool), np.empty(0)))


def test_bins_hold_equal_mass_and_never_part_equal_scores():
    scores = np.random.default_rng(0).random(1000)
    assert np.bincount(metrics.equal_mass_bins(scores, 10)).tolist() == [100] * 10
    tied = metrics.equal_mass_bins(np.repeat([0.1, 0.2, 0.9], [90, 5, 5]), 10)
    assert [len(set(tied[part])) for part in (slice(90), slice(90, 95), slice(95, None))] == [1, 1, 1]
    assert len(set(metrics.equal_mass_bins(np.array([0.3, 0.3])))) == 1
    assert len(metrics.equal_mass_bins(np.empty(0))) == 0


def test_by_a_column_without_values_or_none_at_all():
    table = predictions()
    assert list(metrics.parts(table.assign(category=None), "category")) == []
    with pytest.raises(DfdError, match="lack the columns camera"):
        list(metrics.parts(table, "camera"))
