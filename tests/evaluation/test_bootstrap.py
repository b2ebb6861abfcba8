"""Intervals: every metric against a plain loop, the edges, and how often the truth lies inside."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from dfdlib import DfdError
from dfdlib.evaluation import bootstrap, metrics, tables
from dfdlib.models.decision import Decision


@pytest.fixture(autouse=True)
def _no_warnings(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn]


def predictions(n=300, seed=0, group_size=3, decimals=8, scale=1.0, threshold=0.5):
    """Calibrated predictions where `scale` is 1."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 2, n)
    fake = rng.random(n) < expit(logit)
    p_fake = expit(scale * logit).round(decimals)
    return pd.DataFrame(
        {
            "label": np.where(fake, "fake", "real"),
            "group": [f"g{i // group_size}" for i in range(n)],
            "p_fake": p_fake,
            "predicted": np.where(p_fake >= threshold, "fake", "real"),
        }
    )


def with_generators(n=400, seed=0, group_size=1):
    """Predictions in random order; fakes of generator `b` are found more easily than those of `a`."""
    rng = np.random.default_rng(seed)
    fake = rng.random(n) < 0.4
    generator = np.where(rng.random(n) < 0.5, "a", "b")
    logit = rng.normal(0, 1.5, n) + fake * np.where(generator == "b", 2, 2 / 3) - 1
    table = pd.DataFrame(
        {
            "label": np.where(fake, "fake", "real"),
            "group": [f"g{i // group_size}" for i in range(n)],
            "generator": np.where(fake, generator, None),
            "logit": logit,
        }
    )
    return tables.with_decision(table, Decision(0.4))


def noise_and_share(table, bins):
    """Return the squared standard error of each bin's gap, over groups, and the share of the images."""
    member = pd.get_dummies(bins, dtype=float)
    gaps = member.mul((table["p_fake"] - (table["label"] == "fake")).to_numpy(), axis=0)
    by_group = gaps.groupby(table["group"].to_numpy()).sum()
    return len(by_group) * by_group.var(ddof=0) / len(table) ** 2, member.mean()


def by_hand(table, bins, noise, share):
    """Compute every metric by scikit-learn, the ECE in given bins."""
    truth, p_fake = (table["label"] == "fake").to_numpy(), table["p_fake"].to_numpy()
    called = p_fake >= 0.4
    x, y, _ = sk.roc_curve(truth, p_fake, drop_intermediate=False)
    gaps = np.array([(p_fake - truth)[bins == i].sum() for i in share.index]) / len(table)
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
        "ece": np.sqrt(max(0, ((gaps**2 - noise) / share).sum())),
    }


@pytest.mark.parametrize("decimals", [1, 8])
def test_every_resample_agrees_with_scikit_learn(decimals):
    table = predictions(120, group_size=4, decimals=decimals, seed=1)
    table["p_fake"] = table["p_fake"].clip(0.01, 0.99)
    table["predicted"] = np.where(table["p_fake"] >= 0.4, "fake", "real")
    images, n = bootstrap.scored_images(table)
    resampled = bootstrap.resample(images, tuple(metrics.METRICS), 12, seed=5)
    groups = table["group"].factorize(sort=True)[0]
    bins = metrics.equal_mass_bins(table["p_fake"].to_numpy())
    about = noise_and_share(table, bins)
    draws = np.random.default_rng(5).multinomial(30, np.full(30, 1 / 30), size=12)
    for i, counts in enumerate(draws):
        rows = np.repeat(np.arange(n), counts[groups])
        assert resampled.loc[i].to_dict() == pytest.approx(by_hand(table.iloc[rows], bins[rows], *about))
    assert images.values(tuple(metrics.METRICS)) == pytest.approx(by_hand(table, bins, *about))


def test_the_table_has_its_shape_and_the_ends_are_percentiles():
    table = predictions()
    result = bootstrap.bootstrap_metrics(table, n_resamples=200, level=0.8, seed=3)
    assert list(result.index) == list(metrics.METRICS)
    assert list(result) == ["value", "low", "high", "n", "n_groups"]
    assert (result["n"] == 300).all()
    assert (result["n_groups"] == 100).all()
    assert ((result["low"] <= result["value"]) & (result["value"] <= result["high"])).all()
    resampled = bootstrap.resample(bootstrap.scored_images(table)[0], ["brier"], 200, 3)["brier"]
    assert result.loc["brier", ["low", "high"]].tolist() == pytest.approx(np.quantile(resampled, [0.1, 0.9]))


def test_blocks_do_not_matter(monkeypatch):
    table = predictions()
    whole = bootstrap.bootstrap_metrics(table, n_resamples=30)
    monkeypatch.setattr(bootstrap, "_BLOCK", 700)
    pd.testing.assert_frame_equal(bootstrap.bootstrap_metrics(table, n_resamples=30), whole)


def test_the_threshold_is_the_tables_own():
    table = predictions(threshold=0.8)
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
    with pytest.raises(DfdError, match="unknown metric `auk`; did you mean `auc`"):
        bootstrap.bootstrap_metrics(table, ["auk"])
    with pytest.raises(DfdError, match="look like logits"):
        bootstrap.bootstrap_metrics(table.assign(p_fake=table["p_fake"] + 1))
    with pytest.raises(DfdError, match="1 of 300 scores are NaN"):
        bootstrap.bootstrap_metrics(table.assign(p_fake=table["p_fake"].where(table.index > 0)))
    for column in ("group", "predicted"):
        with pytest.raises(DfdError, match=f"lack the columns {column}"):
            bootstrap.bootstrap_metrics(table.drop(columns=column))
    for arguments in ({"n_resamples": 0}, {"level": 95}):
        with pytest.raises(DfdError, match="an interval needs"):
            bootstrap.bootstrap_metrics(table, **arguments)
        with pytest.raises(DfdError, match="an interval needs"):
            bootstrap.auc_interval(table, **arguments)


def test_the_intervals_cover_the_truth():
    names = ("auc", "ap", "eer", "accuracy", "log_loss", "brier", "ece")
    truth = bootstrap.scored_images(predictions(100_000, seed=99, scale=1.5))[0].values(names)
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
    assert np.mean([row["value"] for row in rows]) < 0.03, "noise in the bins is no error"


def test_the_calibration_error_lies_within_its_interval():
    for scale in (1, 1.5, 3):
        for seed in range(10):
            row = bootstrap.bootstrap_metrics(predictions(200, seed, 2, scale=scale), ["ece"], 200).loc["ece"]
            assert row["low"] < row["value"] < row["high"] or row["value"] == row["low"] == 0


def test_ten_thousand_images_take_seconds():
    table = predictions(10_000, group_size=2)
    started = time.process_time()
    bootstrap.bootstrap_metrics(table)
    assert time.process_time() - started < 3  # 0.7 s on an idle core


def test_the_interval_agrees_with_a_loop():
    table = with_generators(60, group_size=3)
    rng, groups = np.random.default_rng(0), table["group"].factorize(sort=True)[0]
    members = [np.flatnonzero(groups == group) for group in range(20)]
    values = []
    for draws in rng.multinomial(20, np.full(20, 1 / 20), size=50):
        part = table.iloc[np.concatenate([np.repeat(members[i], k) for i, k in enumerate(draws)])]
        values.append(sk.roc_auc_score(part["label"] == "fake", part["p_fake"]))
    expected = np.quantile(values, [0.05, 0.95])
    assert bootstrap.auc_interval(table, 50, level=0.9) == pytest.approx(expected)


def test_the_interval_covers_the_truth():
    truth = metrics.auc(*_truth_and_score(with_generators(40_000, seed=99)))
    intervals = [bootstrap.auc_interval(with_generators(150, seed=seed), 300) for seed in range(60)]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.85 <= covered <= 1


def test_the_interval_narrows_with_n_and_repeats_with_the_seed():
    low, high = bootstrap.auc_interval(with_generators(200))
    low_more, high_more = bootstrap.auc_interval(with_generators(3200))
    assert 2 < (high - low) / (high_more - low_more) < 8  # 4 expected
    assert bootstrap.auc_interval(with_generators(200)) == (low, high)
    assert bootstrap.auc_interval(with_generators(200), seed=1) != (low, high)
    assert bootstrap.auc_interval(with_generators(200), level=0.5)[0] > low


def test_copies_within_a_group_do_not_narrow_the_interval():
    table = with_generators(100)
    copies = pd.concat([table] * 9, ignore_index=True)
    assert bootstrap.auc_interval(copies) == pytest.approx(bootstrap.auc_interval(table))
    alone = copies.assign(group=None)  # each an independent image, so they say: the interval is too narrow
    low, high = bootstrap.auc_interval(table)
    low_alone, high_alone = bootstrap.auc_interval(alone)
    assert high_alone - low_alone < 0.5 * (high - low)


def test_an_image_without_a_group_stands_for_itself():
    table = with_generators(100)
    width = np.ptp(bootstrap.auc_interval(table))
    assert np.ptp(bootstrap.auc_interval(table.assign(group=None))) == pytest.approx(width, rel=0.15)


def test_a_bootstrap_without_both_classes_has_no_interval():
    table = pd.DataFrame({"label": ["real", "fake"], "p_fake": [0.1, 0.9], "group": ["a", "b"]})
    table["predicted"] = table["label"]
    intervals = [bootstrap.auc_interval(table, n_resamples=1, seed=seed) for seed in range(8)]
    assert {str(low) for low, _ in intervals} == {"nan", "1.0"}
    assert bootstrap.auc_interval(table, n_resamples=100) == (1, 1)


def test_by_generator_judges_against_all_reals():
    table = with_generators()
    result = bootstrap.by_generator(table)
    assert result.index.tolist() == ["a", "b"]
    for name in "ab":
        part = table[(table["label"] == "real") | (table["generator"] == name)]
        fakes = table[table["generator"] == name]
        assert result.loc[name, "n"] == len(fakes)
        assert result.loc[name, "auc"] == pytest.approx(
            sk.roc_auc_score(part["label"] == "fake", part["p_fake"])
        )
        assert result.loc[name, "fake_accuracy"] == pytest.approx((fakes["p_fake"] >= 0.4).mean())
        assert result.loc[name, "mean_p_fake"] == pytest.approx(fakes["p_fake"].mean())
        assert result.loc[name, "auc_low"] < result.loc[name, "auc"] < result.loc[name, "auc_high"]
    assert result.loc["b", "auc"] > result.loc["a", "auc"]


def test_by_generator_without_generators_is_empty_but_has_its_columns():
    result = bootstrap.by_generator(with_generators().assign(generator=None))
    assert result.empty
    assert "auc" in result


@pytest.mark.parametrize("label", ["real", "fake"])
def test_one_class_has_no_interval(label):
    table = with_generators()
    assert np.isnan(bootstrap.auc_interval(table[table["label"] == label])).all()


def test_order_and_images_without_a_label_do_not_matter():
    table = with_generators(group_size=4)
    shuffled = table.sample(frac=1, random_state=1)
    assert bootstrap.auc_interval(shuffled) == pytest.approx(bootstrap.auc_interval(table))
    both = pd.concat([table.assign(label=None, p_fake=0.99), table], ignore_index=True)
    assert bootstrap.by_generator(both).equals(bootstrap.by_generator(table))


def test_by_generator_is_the_bootstrap_of_each_part():
    table = with_generators()
    result = bootstrap.by_generator(table)
    for name in "ab":
        part = table[(table["label"] == "real") | (table["generator"] == name)]
        row = bootstrap.bootstrap_metrics(part, ["auc", "fake_accuracy"])
        assert result.loc[name, ["auc", "auc_low", "auc_high"]].tolist() == pytest.approx(
            row.loc["auc", ["value", "low", "high"]].tolist()
        )
        assert result.loc[name, "fake_accuracy"] == row.loc["fake_accuracy", "value"]


def test_intervals_in_one_row():
    judged = bootstrap.bootstrap_metrics(predictions(), ["auc", "eer"], 20)
    row = bootstrap.with_ends(judged)
    assert list(row) == ["auc", "auc_low", "auc_high", "eer", "eer_low", "eer_high"]
    assert [row["eer"], row["eer_low"], row["eer_high"]] == judged.loc[
        "eer", ["value", "low", "high"]
    ].tolist()


def _truth_and_score(table):
    return (table["label"] == "fake").to_numpy(), table["p_fake"].to_numpy()
