"""Metrics: the limits, ties and lacking classes by hand, the rest against scikit-learn."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from sklearn import metrics as sk

from dfdlib import DfdError
from dfdlib.evaluation import bootstrap, calibration, metrics


@pytest.fixture(autouse=True)
def _no_warnings(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn]


def predictions(n=400, seed=0, shift=2.0, group_size=1, threshold=0.4):
    """A predictions table in random order; fakes of generator `b` are found more easily than those of `a`."""
    rng = np.random.default_rng(seed)
    fake = rng.random(n) < 0.4
    generator = np.where(rng.random(n) < 0.5, "a", "b")
    logit = rng.normal(0, 1.5, n) + fake * np.where(generator == "b", shift, shift / 3) - 1
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(n)],
            "label": np.where(fake, "fake", "real"),
            "category": rng.choice(["animals", "vehicles"], n),
            "split": "test",
            "group": [f"g{i // group_size}" for i in range(n)],
            "generator": np.where(fake, generator, None),
            "logit": logit,
            "p_fake": expit(logit),
            "predicted": np.where(expit(logit) >= threshold, "fake", "real"),
        }
    )
    table.attrs["threshold"] = threshold
    return table


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
            "ece": calibration.ece(truth, p_fake),
            "threshold": 0.4,
            "n": 400,
            "n_real": int((~truth).sum()),
            "n_fake": int(truth.sum()),
        }
    )


def tpr_at_fpr(truth, score, rate):
    return float(bootstrap.hit_rate_at(*bootstrap.curves(*bootstrap.checked(truth, score)), rate)[0])


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
    table = predictions(group_size=4)
    shuffled = table.sample(frac=1, random_state=1)
    assert metrics.binary_metrics(shuffled) == pytest.approx(metrics.binary_metrics(table))
    assert metrics.auc_interval(shuffled) == pytest.approx(metrics.auc_interval(table))


def test_swapped_labels_turn_the_numbers_round():
    table = predictions()
    swapped = table.assign(label=table["label"].map({"real": "fake", "fake": "real"}))
    right, wrong = metrics.binary_metrics(table), metrics.binary_metrics(swapped)
    assert wrong["auc"] == pytest.approx(1 - right["auc"])
    assert wrong["accuracy"] == pytest.approx(1 - right["accuracy"])


def test_an_image_at_the_threshold_is_called_fake():
    table = pd.DataFrame({"label": ["fake", "real"], "p_fake": [0.5, 0.5]})
    assert metrics.binary_metrics(table)["fake_accuracy"] == 1
    assert metrics.binary_metrics(table)["real_accuracy"] == 0
    assert metrics.binary_metrics(table, threshold=0.6)["fake_accuracy"] == 0


@pytest.mark.parametrize("label", ["real", "fake"])
def test_one_class_has_an_accuracy_but_no_ranking(label):
    table = predictions()
    scores = metrics.binary_metrics(table[table["label"] == label])
    for name in ("auc", "ap", "eer", "balanced_accuracy", "tpr_at_1_fpr", "tpr_at_5_fpr"):
        assert np.isnan(scores[name])
    assert 0 < scores["accuracy"] == scores[f"{label}_accuracy"]
    assert np.isnan(metrics.auc_interval(table[table["label"] == label])).all()


def test_one_image_and_none():
    assert metrics.binary_metrics(predictions().head(1))["n"] == 1
    scores = metrics.binary_metrics(predictions().head(0))
    assert scores["n"] == 0
    assert np.isnan([scores[name] for name in bootstrap.METRICS]).all()


def test_images_without_a_label_are_left_out():
    table = predictions()
    more = table.assign(label=None, p_fake=0.99)
    both = pd.concat([more, table], ignore_index=True)
    both.attrs = table.attrs
    assert metrics.binary_metrics(both) == pytest.approx(metrics.binary_metrics(table))
    assert metrics.by_generator(both).equals(metrics.by_generator(table))


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
    with pytest.raises(DfdError, match="lack the columns p_fake"):
        metrics.binary_metrics(table.drop(columns="p_fake"))
    with pytest.raises(DfdError, match="lack the columns group"):
        metrics.auc_interval(table.drop(columns="group"))
    with pytest.raises(DfdError, match="look like logits"):
        metrics.binary_metrics(table.assign(p_fake=table["logit"]))
    for arguments in ({"n_resamples": 0}, {"level": 95}):
        with pytest.raises(DfdError, match="an interval needs"):
            metrics.auc_interval(table, **arguments)


def test_the_interval_agrees_with_a_loop():
    table = predictions(60, group_size=3)
    rng, groups = np.random.default_rng(0), table["group"].factorize(sort=True)[0]
    members = [np.flatnonzero(groups == group) for group in range(20)]
    values = []
    for draws in rng.multinomial(20, np.full(20, 1 / 20), size=50):
        part = table.iloc[np.concatenate([np.repeat(members[i], k) for i, k in enumerate(draws)])]
        values.append(sk.roc_auc_score(part["label"] == "fake", part["p_fake"]))
    expected = np.quantile(values, [0.05, 0.95])
    assert metrics.auc_interval(table, 50, level=0.9) == pytest.approx(expected)


def test_the_interval_covers_the_truth():
    truth = metrics.auc(*_truth_and_score(predictions(40_000, seed=99)))
    intervals = [metrics.auc_interval(predictions(150, seed=seed), 300) for seed in range(60)]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.85 <= covered <= 1


def test_the_interval_narrows_with_n_and_repeats_with_the_seed():
    low, high = metrics.auc_interval(predictions(200))
    low_more, high_more = metrics.auc_interval(predictions(3200))
    assert 2 < (high - low) / (high_more - low_more) < 8  # 4 expected
    assert metrics.auc_interval(predictions(200)) == (low, high)
    assert metrics.auc_interval(predictions(200), seed=1) != (low, high)
    assert metrics.auc_interval(predictions(200), level=0.5)[0] > low


def test_copies_within_a_group_do_not_narrow_the_interval():
    table = predictions(100)
    copies = pd.concat([table] * 9, ignore_index=True)
    assert metrics.auc_interval(copies) == pytest.approx(metrics.auc_interval(table))
    alone = copies.assign(group=None)  # each an independent image, so they say: the interval is too narrow
    low, high = metrics.auc_interval(table)
    low_alone, high_alone = metrics.auc_interval(alone)
    assert high_alone - low_alone < 0.5 * (high - low)


def test_an_image_without_a_group_stands_for_itself():
    table = predictions(100)
    width = np.ptp(metrics.auc_interval(table))
    assert np.ptp(metrics.auc_interval(table.assign(group=None))) == pytest.approx(width, rel=0.15)


def test_a_bootstrap_without_both_classes_has_no_interval():
    table = pd.DataFrame({"label": ["real", "fake"], "p_fake": [0.1, 0.9], "group": ["a", "b"]})
    intervals = [metrics.auc_interval(table, n_resamples=1, seed=seed) for seed in range(8)]
    assert {str(low) for low, _ in intervals} == {"nan", "1.0"}
    assert metrics.auc_interval(table, n_resamples=100) == (1, 1)


def test_ten_thousand_images_take_seconds():
    table = predictions(10_000, group_size=2)
    started = time.perf_counter()
    metrics.auc_interval(table)
    assert time.perf_counter() - started < 6  # 0.7 s on an idle core; the machine is shared


def test_by_generator_judges_against_all_reals():
    table = predictions()
    result = metrics.by_generator(table)
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
    result = metrics.by_generator(predictions().assign(generator=None))
    assert result.empty
    assert "auc" in result


def test_by_category_is_binary_metrics_of_each_at_the_tables_threshold():
    table = predictions()
    result = metrics.by_category(table)
    assert result["threshold"].tolist() == [0.4, 0.4]
    assert result["n"].sum() == 400
    animals = metrics.binary_metrics(table[table["category"] == "animals"])
    assert result.loc["animals"].to_dict() == pytest.approx(animals)
    assert metrics.by_category(table.assign(category=None)).empty


def test_by_a_column_is_the_bootstrap_of_each_part_at_the_tables_threshold():
    table = predictions(group_size=3)
    result = metrics.by(table, "category", n_resamples=50)
    animals = table[table["category"] == "animals"]
    expected = bootstrap.bootstrap_metrics(animals, n_resamples=50, threshold=0.4)
    pd.testing.assert_frame_equal(result.loc["animals"], expected)
    assert result.index.names == ["category", "metric"]
    assert result.xs("auc", level="metric")["n"].sum() == 400


def test_by_generator_is_by_the_column_generator():
    table = predictions()
    long, wide = metrics.by(table, "generator", ["auc", "fake_accuracy"]), metrics.by_generator(table)
    auc = long.xs("auc", level="metric")
    for column, expected in (("value", "auc"), ("low", "auc_low"), ("high", "auc_high"), ("n", "n")):
        assert auc[column].tolist() == wide[expected].tolist()
    assert long.xs("fake_accuracy", level="metric")["value"].tolist() == wide["fake_accuracy"].tolist()


def test_by_a_source_of_one_class_has_its_accuracy():
    table = predictions().assign(source=lambda table: table["label"] + " set")
    result = metrics.by(table, "source", ["auc", "accuracy"], 20)
    assert np.isnan(result.loc[("fake set", "auc"), "value"])
    assert 0 < result.loc[("fake set", "accuracy"), "low"] < 1
    with pytest.raises(DfdError, match="lack the columns camera"):
        metrics.by(table, "camera")
    with pytest.raises(DfdError, match="fill in the column `source`"):
        metrics.by(table.assign(source=None), "source")


def frames():
    """Two generators that use the same names for their videos."""
    rows = [
        *(
            ("fake", f"fake/{name}/000_003/{i:04d}.png", i + add)
            for name, add in (("a", 0), ("b", 3))
            for i in (1, 2, 3)
        ),
        ("real", "real/000/0001.png", -4.0),
        ("real", "real/000/0002.png", 0.5),
    ]
    table = pd.DataFrame(rows, columns=["label", "path", "logit"]).assign(category=None, split="test")
    table["group"] = "g" + table["path"].str.split("/").str[-2].str[:3]
    table["generator"] = table["path"].str.extract("fake/([ab])/")[0]
    table["p_fake"] = expit(table["logit"])
    table.attrs |= {"threshold": 0.3, "root": "here"}
    return table


def test_videos_are_told_apart_by_all_their_folders():
    videos = metrics.video_level(frames().sample(frac=1, random_state=3)).sort_values("path")
    assert videos["path"].tolist() == ["fake/a/000_003", "fake/b/000_003", "real/000"]
    assert videos["n_frames"].tolist() == [3, 3, 2]
    assert videos["logit"].tolist() == pytest.approx([2, 5, -1.75])
    assert videos["p_fake"].tolist() == pytest.approx(expit([2, 5, -1.75]))
    assert videos["predicted"].tolist() == ["fake", "fake", "real"]
    assert videos["generator"].tolist()[:2] == ["a", "b"]
    assert videos.attrs == {"threshold": 0.3, "root": "here"}
    scores = bootstrap.bootstrap_metrics(videos, ["auc", "accuracy"])
    assert scores["value"].tolist() == [1, 1]
    assert scores["n"].tolist() == [3, 3]


def test_the_surest_frames_decide():
    videos = metrics.video_level(frames(), "top_k", k=2).set_index("path")["logit"]
    assert videos.to_dict() == pytest.approx(
        {"fake/a/000_003": 2.5, "fake/b/000_003": 5.5, "real/000": -1.75}
    )
    assert metrics.video_level(frames(), "top_k", k=1)["logit"].tolist() == pytest.approx([3, 6, 0.5])
    without = frames().drop(columns="logit")
    assert metrics.video_level(without, "top_k", k=1)["logit"].tolist() == pytest.approx([3, 6, 0.5])


def test_the_column_video_wins_over_the_path():
    table = frames().assign(video=["x", "x", "y", "z", "z", "z", None, None])
    videos = metrics.video_level(table)
    assert videos["path"].tolist() == ["x", "y", "z", "real/000/0001.png", "real/000/0002.png"]
    assert videos["logit"].tolist() == pytest.approx([1.5, 3, 5, -4, 0.5])


def test_flat_names_tell_the_video_where_they_can():
    paths = ["fake/id0_01.png", "fake/id0_02.png", "fake/v3 frame 7.png", "fake/v3-frame-8.png"]
    table = frames().head(4).assign(path=paths)
    assert metrics.video_level(table)["path"].tolist() == ["fake/id0", "fake/v3"]
    for path in ("fake/0001.png", "test/fake/frames/0001.png", "fake/IMG_0001.jpg", "fake/cat_0001.jpg"):
        with pytest.raises(DfdError, match=f"{path} does not tell which video"):
            metrics.video_level(table.assign(path=path))


def test_broken_videos_are_refused():
    with pytest.raises(DfdError, match="the video x has real and fake frames"):
        metrics.video_level(frames().assign(video="x"))
    for arguments in ({"how": "max"}, {"how": "top_k", "k": 0}):
        with pytest.raises(DfdError, match="judged by the 'mean' or the 'top_k'"):
            metrics.video_level(frames(), **arguments)
    with pytest.raises(DfdError, match="lack the columns path"):
        metrics.video_level(frames().drop(columns="path"))


def test_the_threshold_is_the_middle_of_the_best_gap():
    assert calibration.choose_threshold([1, 0, 1, 0], [0.9, 0.2, 0.6, 0.1]) == pytest.approx(0.4)
    # both cuts make one mistake; the wider gap wins
    assert calibration.choose_threshold([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.9]) == pytest.approx(0.6)
    assert calibration.choose_threshold([1, 1], [0.9, 0.8]) == 0.5
    assert calibration.choose_threshold([], []) == 0.5


def test_the_threshold_has_the_best_balanced_accuracy():
    table = predictions(300, seed=3)
    truth, p_fake = _truth_and_score(table)
    p_fake = np.round(p_fake, 2)
    chosen = sk.balanced_accuracy_score(truth, p_fake >= calibration.choose_threshold(truth, p_fake))
    best = max(sk.balanced_accuracy_score(truth, p_fake >= cut) for cut in np.linspace(-0.005, 1.005, 102))
    assert chosen == pytest.approx(best)


def test_the_threshold_splits_neighbouring_floats():
    real, fake = np.nextafter(np.nextafter(1, 0), 0), np.nextafter(1, 0)
    assert real < calibration.choose_threshold([0, 1], [real, fake]) <= fake


def test_the_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    truth = rng.random(20_000) < expit(logits)
    for temperature in (0.5, 1, 3):
        assert calibration.fit_temperature(truth, logits * temperature) == pytest.approx(
            temperature, rel=0.05
        )


def test_the_temperature_stays_in_its_range():
    low, high = calibration.TEMPERATURES
    assert calibration.fit_temperature([0, 1, 1, 0], [-3, 5, 2, -1]) == pytest.approx(low, rel=1e-3)
    assert calibration.fit_temperature([0, 1, 1, 0], [30, -50, -20, 10]) == pytest.approx(high, rel=1e-3)
    assert calibration.fit_temperature([1, 1], [3, 4]) == 1
    with pytest.raises(DfdError, match="infinite"):
        calibration.fit_temperature([0, 1], [-np.inf, 1])


def _truth_and_score(table):
    return (table["label"] == "fake").to_numpy(), table["p_fake"].to_numpy()
