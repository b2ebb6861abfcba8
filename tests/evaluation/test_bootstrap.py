"""Intervals: every metric against a plain loop, the edges, and how often the truth lies inside."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from dfdlib import DfdError
from dfdlib.evaluation import bootstrap, metrics


@pytest.fixture(autouse=True)
def _no_warnings(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn]


def predictions(n=300, seed=0, group_size=3, decimals=8, scale=1.0):
    """Calibrated predictions where `scale` is 1."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 2, n)
    fake = rng.random(n) < expit(logit)
    return pd.DataFrame(
        {
            "label": np.where(fake, "fake", "real"),
            "group": [f"g{i // group_size}" for i in range(n)],
            "p_fake": expit(scale * logit).round(decimals),
        }
    )


def by_hand(table, bins):
    """Compute every metric by scikit-learn, the ECE in given bins."""
    truth, p_fake = (table["label"] == "fake").to_numpy(), table["p_fake"].to_numpy()
    called = p_fake >= 0.4
    x, y, _ = sk.roc_curve(truth, p_fake, drop_intermediate=False)
    gaps = [(p_fake - truth)[bins == i].sum() for i in np.unique(bins)]
    return {
        "auc": sk.roc_auc_score(truth, p_fake),
        "ap": sk.average_precision_score(truth, p_fake),
        "eer": metrics.eer(truth, p_fake),
        "tpr_at_1_fpr": y[x <= 0.01 + 1e-12].max(),
        "tpr_at_5_fpr": y[x <= 0.05 + 1e-12].max(),
        "accuracy": sk.accuracy_score(truth, called),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, called),
        "f1": sk.f1_score(truth, called),
        "real_accuracy": sk.recall_score(~truth, ~called),
        "fake_accuracy": sk.recall_score(truth, called),
        "log_loss": sk.log_loss(truth, p_fake),
        "brier": sk.brier_score_loss(truth, p_fake),
        "ece": np.abs(gaps).sum() / len(table),
    }


@pytest.mark.parametrize("decimals", [1, 8])
def test_every_resample_agrees_with_scikit_learn(decimals):
    table = predictions(120, group_size=4, decimals=decimals, seed=1)
    table["p_fake"] = table["p_fake"].clip(0.01, 0.99)
    sample, n = bootstrap.sample_of(table, threshold=0.4)
    resampled = sample.resampled(tuple(bootstrap.METRICS), 12, seed=5)
    groups = table["group"].factorize(sort=True)[0]
    bins = bootstrap.equal_mass_bins(table["p_fake"].to_numpy())
    draws = np.random.default_rng(5).multinomial(30, np.full(30, 1 / 30), size=12)
    for i, counts in enumerate(draws):
        rows = np.repeat(np.arange(n), counts[groups])
        assert resampled.loc[i].to_dict() == pytest.approx(by_hand(table.iloc[rows], bins[rows]))
    assert sample.values(tuple(bootstrap.METRICS)) == pytest.approx(by_hand(table, bins))


def test_the_table_has_its_shape_and_the_ends_are_percentiles():
    table = predictions()
    result = bootstrap.bootstrap_metrics(table, n_resamples=200, level=0.8, seed=3, threshold=0.4)
    assert list(result.index) == list(bootstrap.METRICS)
    assert list(result) == ["value", "low", "high", "n", "n_groups"]
    assert (result["n"] == 300).all()
    assert (result["n_groups"] == 100).all()
    assert ((result["low"] <= result["value"]) & (result["value"] <= result["high"])).all()
    resampled = bootstrap.sample_of(table, 0.4)[0].resampled(("brier",), 200, 3)["brier"]
    assert result.loc["brier", ["low", "high"]].tolist() == pytest.approx(np.quantile(resampled, [0.1, 0.9]))


def test_blocks_do_not_matter(monkeypatch):
    table = predictions()
    whole = bootstrap.bootstrap_metrics(table, n_resamples=30)
    monkeypatch.setattr(bootstrap, "_BLOCK", 700)
    pd.testing.assert_frame_equal(bootstrap.bootstrap_metrics(table, n_resamples=30), whole)


def test_the_threshold_is_the_tables_own():
    table = predictions()
    table.attrs["threshold"] = 0.8
    result = bootstrap.bootstrap_metrics(table, ["accuracy"], n_resamples=20)
    expected = ((table["p_fake"] >= 0.8) == (table["label"] == "fake")).mean()
    assert result.loc["accuracy", "value"] == pytest.approx(expected)


@pytest.mark.parametrize("label", ["real", "fake"])
def test_one_class(label):
    table = predictions().query("label == @label")
    result = bootstrap.bootstrap_metrics(table, n_resamples=50)
    ranked = ["auc", "ap", "eer", "tpr_at_1_fpr", "tpr_at_5_fpr", "balanced_accuracy"]
    other = "fake_accuracy" if label == "real" else "real_accuracy"
    assert result.loc[[*ranked, other], ["value", "low", "high"]].isna().all(axis=None)
    assert result.drop([*ranked, other]).notna().all(axis=None)


def test_one_image_and_none():
    one = bootstrap.bootstrap_metrics(predictions(1), n_resamples=10)
    assert one.loc["accuracy", ["low", "high"]].tolist() == [one.loc["accuracy", "value"]] * 2
    assert np.isnan(one.loc["auc", "value"])
    none = bootstrap.bootstrap_metrics(predictions().head(0), n_resamples=10)
    assert none[["value", "low", "high"]].isna().all(axis=None)
    assert (none["n"] == 0).all()


def test_ties_and_constant_scores():
    table = predictions().assign(p_fake=0.5)
    result = bootstrap.bootstrap_metrics(table, n_resamples=50)
    for name in ("auc", "eer"):
        assert result.loc[name, ["value", "low", "high"]].tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert result.loc["tpr_at_5_fpr", "value"] == 0
    assert result.loc["ap", "value"] == pytest.approx((table["label"] == "fake").mean())


def test_broken_input_is_refused():
    table = predictions()
    with pytest.raises(DfdError, match="no metric is called 'auk'; did you mean `auc`"):
        bootstrap.bootstrap_metrics(table, ["auk"])
    with pytest.raises(DfdError, match="look like logits"):
        bootstrap.bootstrap_metrics(table.assign(p_fake=table["p_fake"] + 1))
    with pytest.raises(DfdError, match="1 of 300 scores are NaN"):
        bootstrap.bootstrap_metrics(table.assign(p_fake=table["p_fake"].where(table.index > 0)))
    with pytest.raises(DfdError, match="lack the columns group"):
        bootstrap.bootstrap_metrics(table.drop(columns="group"))
    for arguments in ({"n_resamples": 0}, {"level": 95}):
        with pytest.raises(DfdError, match="an interval needs"):
            bootstrap.bootstrap_metrics(table, **arguments)


def test_bins_hold_equal_mass_and_never_part_equal_scores():
    scores = np.random.default_rng(0).random(1000)
    assert np.bincount(bootstrap.equal_mass_bins(scores, 10)).tolist() == [100] * 10
    tied = bootstrap.equal_mass_bins(np.repeat([0.1, 0.2, 0.9], [90, 5, 5]), 10)
    assert [len(set(tied[part])) for part in (slice(90), slice(90, 95), slice(95, None))] == [1, 1, 1]
    assert len(set(bootstrap.equal_mass_bins(np.array([0.3, 0.3])))) == 1
    assert len(bootstrap.equal_mass_bins(np.empty(0))) == 0


def test_the_intervals_cover_the_truth():
    names = ("auc", "ap", "eer", "accuracy", "log_loss", "brier", "ece")
    truth = bootstrap.sample_of(predictions(100_000, seed=99, scale=1.5))[0].values(names)
    inside = []
    for seed in range(60):
        table = bootstrap.bootstrap_metrics(predictions(300, seed, group_size=1, scale=1.5), names, 200)
        inside.append((table["low"] <= pd.Series(truth)) & (pd.Series(truth) <= table["high"]))
    covered = pd.DataFrame(inside).mean()
    assert covered.between(0.85, 1).all(), covered  # 0.95 is meant; 60 draws of it give 0.87 to 1


def test_the_interval_of_a_perfect_calibration_reaches_zero():
    """Percentiles of the resamples never would."""
    tables = [predictions(300, seed, group_size=1) for seed in range(40)]
    rows = [bootstrap.bootstrap_metrics(table, ["ece"], 200).loc["ece"] for table in tables]
    assert np.mean([row["low"] == 0 for row in rows]) > 0.85
    assert min(row["value"] for row in rows) > 0.02


def test_ten_thousand_images_take_seconds():
    table = predictions(10_000, group_size=2)
    started = time.process_time()
    bootstrap.bootstrap_metrics(table)
    assert time.process_time() - started < 3  # 0.7 s on an idle core
