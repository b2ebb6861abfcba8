"""Tables of predictions: decided, joined, brought to videos, and written for people."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit, softmax
from sklearn import metrics as sk

from dfdlib import DfdError, create_detector
from dfdlib.evaluation import bootstrap, metrics, tables
from dfdlib.models.decision import Decision


@pytest.fixture(autouse=True)
def _no_warnings(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn]


def new_detector(categories=(), **decision):
    detector = create_detector("cnn", 24, categories)
    detector.decision = Decision(**decision)
    return detector


def test_logits_become_a_table():
    detector = new_detector(("animals", "vehicles"), threshold=0.6, temperature=2.0, band=(0.5, 0.7))
    manifest = pd.DataFrame({"path": ["a", "b", "c"], "label": ["real", None, "fake"]}, index=[7, 3, 5])
    fake, category = np.float32([-1, 1, 4]), np.float32([[0, 1], [2, 0], [0, 0.5]])
    table = tables.predictions_table(detector, manifest, fake, category)
    assert table.index.tolist() == [0, 1, 2]
    assert table["logit"].tolist() == [-1, 1, 4], "as the network returned it"
    assert table["p_fake"].tolist() == pytest.approx(expit([-0.5, 0.5, 2]))
    assert table["predicted"].tolist() == ["real", "fake", "fake"]
    assert table["verdict"].tolist() == ["real", "can't tell", "fake"]
    assert set(table["threshold"]) == {0.6}
    assert table["predicted_category"].tolist() == ["vehicles", "animals", "vehicles"]
    assert table[["p_animals", "p_vehicles"]].to_numpy() == pytest.approx(softmax(category, 1))
    assert table["category_confidence"].tolist() == pytest.approx(softmax(category, 1).max(1))
    assert "predicted_category" not in tables.predictions_table(detector, manifest, fake, None)


def test_another_decision_changes_all_that_follows_from_it():
    table = pd.DataFrame({"logit": [-2.0, 0.0, 2.0], "kept": [1, 2, 3]})
    decided = tables.with_decision(table, Decision(0.4, 2.0, (0.3, 0.6)))
    assert decided["p_fake"].tolist() == pytest.approx(expit([-1, 0, 1]))
    assert decided["predicted"].tolist() == ["real", "fake", "fake"]
    assert decided["verdict"].tolist() == ["real", "can't tell", "fake"]
    assert decided["threshold"].tolist() == [0.4] * 3
    again = tables.with_decision(decided, Decision(0.9))
    assert again["p_fake"].tolist() == pytest.approx(expit(table["logit"]))
    assert again["predicted"].tolist() == again["verdict"].tolist() == ["real"] * 3
    assert again[["logit", "kept"]].equals(table)


def test_a_joint_decision_is_the_mean_of_logits_of_thresholds_and_bands():
    one, other = new_detector(threshold=0.3, band=(0.2, 0.6)), new_detector(threshold=0.8, band=(0.5, 0.9))
    decision = tables.joint_decision([one, other])
    for found, both in (
        (decision.threshold, [0.3, 0.8]),
        (decision.band[0], [0.2, 0.5]),
        (decision.band[1], [0.6, 0.9]),
    ):
        assert found == pytest.approx(expit(np.mean(logit(both))))
    assert decision.temperature == 1
    assert tables.joint_decision([one, new_detector(threshold=0.3)]).band is None
    never_sure = new_detector(band=(0.0, float(np.nextafter(1, 2))))
    widest = tables.joint_decision([one, never_sure]).band
    assert widest[0] == 0
    assert widest[1] > 1


def test_an_ensemble_averages_calibrated_logits():
    names = ("animals", "vehicles")
    detectors = [new_detector(names, threshold=0.4, temperature=2.0), new_detector(names, threshold=0.7)]
    manifest = pd.DataFrame({"path": list("abc"), "label": "fake"})
    logits = np.array([[-1.0, 2.0, 6.0], [0.5, -3.0, 1.0]])
    category = np.array([[[0.0, 1.0], [3.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 1.0], [0.0, 5.0]]])
    apart = [
        tables.predictions_table(*given).assign(in_training=seen)
        for *given, seen in zip(
            detectors,
            [manifest] * 2,
            logits,
            category,
            [[True, False, False], [False, False, True]],
            strict=True,
        )
    ]
    together = tables.combined(detectors, apart)
    expected = np.mean([logits[0] / 2, logits[1]], 0)
    assert together["logit"].tolist() == pytest.approx(expected)
    assert together["p_fake"].tolist() == pytest.approx(expit(expected))
    joint = tables.joint_decision(detectors)
    assert together["predicted"].tolist() == joint.labels(expit(expected)).tolist()
    assert set(together["threshold"]) == {joint.threshold}
    assert together["p_animals"].tolist() == pytest.approx(softmax(category, 2)[..., 0].mean(0))
    assert together["predicted_category"].tolist() == ["animals", "animals", "vehicles"]
    assert together["in_training"].tolist() == [True, False, True]
    assert tables.combined(detectors[:1], apart[:1]) is apart[0]
    with pytest.raises(DfdError, match="detectors of the same categories"):
        tables.combined([detectors[0], new_detector()], apart)


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
    return tables.with_decision(table.assign(root="here"), Decision(0.3))


def test_videos_are_told_apart_by_all_their_folders():
    videos = tables.video_level(frames().sample(frac=1, random_state=3)).sort_values("path")
    assert videos["path"].tolist() == ["fake/a/000_003", "fake/b/000_003", "real/000"]
    assert videos["n_frames"].tolist() == [3, 3, 2]
    assert videos["logit"].tolist() == pytest.approx([2, 5, -1.75])
    assert videos["p_fake"].tolist() == pytest.approx(expit([2, 5, -1.75]))
    assert videos["predicted"].tolist() == ["fake", "fake", "real"]
    assert videos["generator"].tolist()[:2] == ["a", "b"]
    assert set(videos["threshold"]) == {0.3}
    assert set(videos["root"]) == {"here"}
    scores = bootstrap.bootstrap_metrics(videos, ["auc", "accuracy"])
    assert scores["value"].tolist() == [1, 1]
    assert scores["n"].tolist() == [3, 3]


def test_the_surest_frames_decide():
    videos = tables.video_level(frames(), "top_k", k=2).set_index("path")["logit"]
    assert videos.to_dict() == pytest.approx(
        {"fake/a/000_003": 2.5, "fake/b/000_003": 5.5, "real/000": -1.75}
    )
    assert tables.video_level(frames(), "top_k", k=1)["logit"].tolist() == pytest.approx([3, 6, 0.5])
    without = frames().drop(columns="logit")
    assert tables.video_level(without, "top_k", k=1)["logit"].tolist() == pytest.approx([3, 6, 0.5])


def test_the_column_video_wins_over_the_path():
    table = frames().assign(video=["x", "x", "y", "z", "z", "z", None, None])
    videos = tables.video_level(table)
    assert videos["path"].tolist() == ["x", "y", "z", "real/000/0001.png", "real/000/0002.png"]
    assert videos["logit"].tolist() == pytest.approx([1.5, 3, 5, -4, 0.5])


def test_flat_names_tell_the_video_where_they_can():
    paths = ["fake/id0_01.png", "fake/id0_02.png", "fake/v3 frame 7.png", "fake/v3-frame-8.png"]
    table = frames().head(4).assign(path=paths)
    assert tables.video_level(table)["path"].tolist() == ["fake/id0", "fake/v3"]
    for path in ("fake/0001.png", "test/fake/frames/0001.png", "fake/IMG_0001.jpg", "fake/cat_0001.jpg"):
        with pytest.raises(DfdError, match=f"{path} does not tell which video"):
            tables.video_level(table.assign(path=path))


def test_broken_videos_are_refused():
    with pytest.raises(DfdError, match="the video x has real and fake frames"):
        tables.video_level(frames().assign(video="x"))
    for arguments in ({"how": "max"}, {"how": "top_k", "k": 0}):
        with pytest.raises(DfdError, match="judged by the 'mean' or the 'top_k'"):
            tables.video_level(frames(), **arguments)
    for column in ("path", "threshold"):
        with pytest.raises(DfdError, match=f"lack the columns {column}"):
            tables.video_level(frames().drop(columns=column))


def test_frames_are_averaged_as_they_were_calibrated():
    warm = tables.with_decision(frames(), Decision(0.3, temperature=2.0))
    videos = tables.video_level(warm).set_index("path")
    assert videos["logit"].to_dict() == pytest.approx(
        {"fake/a/000_003": 1, "fake/b/000_003": 2.5, "real/000": -0.875}
    )
    assert videos["p_fake"].to_numpy() == pytest.approx(expit(videos["logit"].to_numpy()))
    assert videos["predicted"].tolist() == ["fake", "fake", "real"]


def test_the_public_table(predictions):
    table = tables.public_table(predictions)
    assert list(table) == [
        *("file", "prediction", "p_fake", "confidence", "verdict", "category", "category_confidence"),
        *("true_label", "true_category"),
    ]
    assert table["file"].tolist() == ["a.png", "'=b.png", "c.png", "d.png"]
    assert table["prediction"].tolist() == table["verdict"].tolist() == ["real", "fake", "fake", "real"]
    assert table["confidence"].tolist() == [0.9, 0.7, 0.8, 0.8]
    unsure = tables.public_table(predictions.assign(verdict="can't tell"))
    assert set(unsure["verdict"]) == {"can't tell"}
    assert unsure["prediction"].equals(table["prediction"])


def test_the_public_table_of_unlabelled_images_without_categories(predictions):
    plain = predictions.drop(columns=["predicted_category", "category_confidence"]).assign(label=None)
    table = tables.public_table(plain)
    assert list(table) == [
        "file",
        "prediction",
        "p_fake",
        "confidence",
        "verdict",
        "true_label",
        "true_category",
    ]
    assert table["true_label"].isna().all()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_is_a_formula(predictions, start):
    odd = predictions.assign(
        path=f"{start}HYPERLINK(1).png", category=f"{start}1", predicted_category=f"{start}2"
    )
    table = tables.public_table(odd)
    for column in ("file", "category", "true_category"):
        assert table[column].str.startswith(f"'{start}").all()
    assert tables.public_table(predictions)["file"].tolist() == ["a.png", "'=b.png", "c.png", "d.png"]
    assert predictions["path"].tolist()[1] == "=b.png"


def test_the_table_of_metrics_shows_the_interval(predictions):
    table = tables.metrics_table({"val": predictions})["val"]
    low, high = bootstrap.auc_interval(predictions)
    assert table["AUC"] == f"0.750 [{low:.3f}, {high:.3f}]"
    assert table["n"] == "4"
    assert table["accuracy on fakes"] == "0.500 [0.000, 1.000]"
    assert tables.as_text(0.00002) == "2.0e-05"
    assert tables.as_text(float("nan")) == tables.as_text(None) == "–"


def test_tables_of_metrics_leave_out_what_has_no_label(predictions):
    judged = {"val": predictions, "test": predictions.assign(label=None)}
    assert list(tables.metrics_table(judged)) == ["val"]


def test_the_table_of_aucs_is_their_interval(predictions):
    fine = predictions.assign(p_fake=[0.1, 0.2, 0.8, 0.9], predicted=predictions["label"])
    table = tables.auc_table({"one": predictions, "two": fine}).set_index("name")
    assert table.loc["one", ["auc", "accuracy", "n"]].tolist() == [0.75, 0.5, 4]
    assert table.loc["two", ["auc", "accuracy"]].tolist() == [1, 1]
    assert tuple(table.loc["one", ["low", "high"]]) == bootstrap.auc_interval(predictions)


def test_a_readable_table_has_plain_names_and_intervals(predictions):
    table = tables.readable(tables.auc_table({"one": predictions, "two": predictions}))
    low, high = bootstrap.auc_interval(predictions)
    assert list(table.index) == ["one", "two"]
    assert list(table) == ["n", "AUC", "accuracy"]
    assert table.loc["two"].tolist() == ["4", f"0.750 [{low:.3f}, {high:.3f}]", "0.500"]
    families = tables.readable(bootstrap.by_generator(predictions.assign(generator="gan")))
    assert families.loc["gan", "AUC"] == f"0.750 [{low:.3f}, {high:.3f}]"
    assert "mean p fake" in families


def test_the_classification_table_agrees_with_scikit_learn(predictions):
    more = pd.concat([predictions, predictions.assign(label=None)], ignore_index=True)
    table = tables.classification_table(more)
    expected = sk.precision_recall_fscore_support(
        predictions["label"], predictions["predicted"], labels=["real", "fake"]
    )
    for column, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert table.loc[["real", "fake"], column].tolist() == pytest.approx(values.tolist())
    assert table.loc["macro avg", "accuracy"] == metrics.binary_metrics(predictions)["accuracy"]
    with pytest.raises(DfdError, match="no image has a label"):
        tables.classification_table(predictions.assign(label=None))
