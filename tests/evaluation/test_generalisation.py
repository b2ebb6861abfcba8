"""Generalisation: across data sets and left-out families, by hand and against the pieces."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from dfdlib import DfdError, create_detector, plots, predict
from dfdlib.data.dataset import ImageDataset
from dfdlib.evaluation.bootstrap import bootstrap_metrics, by_generator
from dfdlib.evaluation.generalisation import NOTHING, cross_dataset, leave_one_out
from dfdlib.models.decision import Decision

FAMILIES = ("swap", "gan", "inpaint")


@pytest.fixture(autouse=True)
def _no_warnings(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn]


@pytest.fixture(scope="module")
def detectors():
    made = {
        "small": create_detector("resnet10t", 32, pretrained="none", seed=1),
        "large": create_detector("resnet10t", 48, ("faces", "animals"), pretrained="none", seed=2),
    }
    made["small"].decision = Decision(0.45, 1.5)
    return made


def scores(left_out, n=240, seed=0):
    """Predictions of a detector that finds every family but the one left out."""
    rng = np.random.default_rng(seed)
    label = np.where(np.arange(n) % 2, "fake", "real")
    generator = np.full(n, None, object)
    generator[label == "fake"] = rng.permutation(np.resize(FAMILIES, n // 2))
    found = (label == "fake") & (generator != left_out)
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(n)], "label": label, "generator": generator})
    table["group"] = [f"g{i // 2}" for i in range(n)]
    noise = np.random.default_rng(len(left_out)).normal(0, 1, n)
    p_fake = expit(2 * found + noise - 1)
    return table.assign(p_fake=p_fake, predicted=np.where(p_fake >= 0.5, "fake", "real"))


@pytest.fixture
def photos(write_images):
    """24 small images in 12 groups, two splits."""
    names = [f"{label}/{i}.png" for i in range(12) for label in ("real", "fake")]
    columns = {"path": names, "label": [name[:4] for name in names], "category": None, "generator": None}
    table = pd.DataFrame(columns)
    table["group"] = [f"g{i // 2}" for i in range(24)]
    table["split"] = np.repeat(["val", "test"], [8, 16])
    return table.assign(root=str(write_images(names)))


@pytest.fixture
def each():
    return {name: scores(name) for name in (NOTHING, *FAMILIES)}


def test_cross_dataset_agrees_with_judging_one_by_one(detectors, photos):
    tables = {"test": photos[photos["split"] == "test"], "val": photos[photos["split"] == "val"]}
    table = cross_dataset(detectors, tables, resamples=20, seed=4)
    assert list(zip(table["detector"], table["dataset"], strict=True)) == [
        (name, dataset) for name in detectors for dataset in tables
    ]
    for row in table.to_dict("records"):
        detector, part = detectors[row["detector"]], tables[row["dataset"]]
        predictions = predict(detector, ImageDataset(part, detector.image_size))
        names = ["auc", "eer", "accuracy", "balanced_accuracy"]
        judged = bootstrap_metrics(predictions, names, 20, seed=4)
        for name in names:
            ends = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
            assert ends == pytest.approx(judged.loc[name, ["value", "low", "high"]].tolist())
        right = (predictions["p_fake"] >= detector.decision.threshold) == (predictions["label"] == "fake")
        assert row["accuracy"] == pytest.approx(right.mean())
        assert row["threshold"] == detector.decision.threshold
        counts = part["label"].value_counts()
        assert (row["n"], row["n_real"], row["n_fake"]) == (len(part), counts["real"], counts["fake"])
        assert row["n_groups"] == part["group"].nunique()


def test_unlabelled_images_do_not_count_and_a_lacking_class_is_no_number(detectors, photos):
    test = photos[photos["split"] == "test"].reset_index(drop=True)
    unlabelled = test.assign(label=test["label"].where(test.index >= 5, None))
    one = {"small": detectors["small"]}
    table = cross_dataset(one, {"some": unlabelled, "rest": test.iloc[5:]}, resamples=10)
    some, rest = (table.drop(columns="dataset").iloc[i] for i in (0, 1))
    assert some.equals(rest)
    fakes = cross_dataset(one, {"fakes": test[test["label"] == "fake"]}, resamples=10).iloc[0]
    assert np.isnan([fakes["auc"], fakes["eer"], fakes["auc_low"]]).all()
    assert 0 <= fakes["accuracy"] <= 1
    assert fakes["n_real"] == 0


def test_cross_dataset_refuses_what_it_cannot_judge(detectors, photos):
    test = photos[photos["split"] == "test"]
    clips = create_detector("resnet10t", 32, pretrained="none", n_frames=4)
    for wrong, message in (
        (lambda: cross_dataset({}, {"test": test}), "no detector"),
        (lambda: cross_dataset({"clip": clips}, {"test": test}), "`clip` looks at clips"),
        (lambda: cross_dataset(detectors, {}), "no data set"),
        (lambda: cross_dataset(detectors, {"mine": test.assign(label=None)}), "`mine` has no labelled image"),
        (lambda: cross_dataset(detectors, {"test": test}, resamples=0), "needs resamples"),
    ):
        with pytest.raises(DfdError, match=message):
            wrong()


def matrix_of(cells):
    """Return the cells as a table: who was left out, down, and who was tested, across."""
    matrix = cells.pivot(index="left_out", columns="generator", values="auc")
    return matrix.loc[cells["left_out"].unique(), cells["generator"].unique()]


def test_each_cell_is_the_auc_of_its_fakes_against_all_real_images(each):
    cells = leave_one_out(each, resamples=10)
    matrix = matrix_of(cells)
    assert list(matrix.index) == [NOTHING, *FAMILIES]
    assert list(matrix.columns) == list(FAMILIES), "the diagonal below the first row was never seen"
    for left_out, row in matrix.iterrows():
        table = each[left_out]
        for family, value in row.items():
            part = table[(table["label"] == "real") | (table["generator"] == family)]
            assert value == pytest.approx(roc_auc_score(part["label"] == "fake", part["p_fake"]))
            assert (value < 0.7) == (left_out == family)
        assert row.to_dict() == pytest.approx(by_generator(table)["auc"].to_dict())
    assert (set(cells["n_fake"]), set(cells["n_real"])) == ({40}, {120})


def test_families_of_which_no_detector_lacks_one_come_last(each):
    matrix = matrix_of(leave_one_out({name: each[name] for name in ("inpaint", "swap")}, resamples=10))
    assert list(matrix.columns) == ["inpaint", "swap", "gan"]
    assert matrix.shape == (2, 3)


def test_order_of_rows_and_images_without_family_or_label_do_not_matter(each):
    expected = leave_one_out(each, resamples=10)
    shuffled = {name: table.sample(frac=1, random_state=i) for i, (name, table) in enumerate(each.items())}
    pd.testing.assert_frame_equal(leave_one_out(shuffled, resamples=10), expected)
    more = pd.DataFrame({"path": ["u.png", "f.png"], "label": [None, "fake"], "generator": None}).assign(
        group="x", p_fake=0.5, predicted="fake"
    )
    wider = {name: pd.concat([table, more]) for name, table in each.items()}
    pd.testing.assert_frame_equal(leave_one_out(wider, resamples=10), expected)


def test_cells_with_their_intervals(each):
    cells = leave_one_out(each, resamples=40, seed=2)
    assert len(cells) == 12
    assert cells["unseen"].sum() == 3
    for cell in cells.itertuples():
        assert cell.unseen == (cell.left_out == cell.generator)
        table = each[cell.left_out]
        part = table[(table["label"] == "real") | (table["generator"] == cell.generator)]
        row = bootstrap_metrics(part, ["auc"], 40, seed=2).loc["auc"]
        ours, theirs = (cell.auc, cell.auc_low, cell.auc_high), row[["value", "low", "high"]]
        assert ours == pytest.approx(tuple(theirs))
        assert (cell.n_fake, cell.n_real, cell.n_groups) == (40, 120, row["n_groups"])
    with pytest.raises(DfdError, match="needs resamples"):
        leave_one_out(each, resamples=0)


def test_scores_that_do_not_fit_together_are_refused(each):
    swap = each["swap"]
    for wrong, message in (
        ({}, "no predictions"),
        ({"swap": swap, "gan": each["gan"].iloc[1:]}, "`swap` and without `gan` are of different images"),
        ({"swap": swap, "gan": each["gan"].assign(label="fake")}, "of different images"),
        ({"swop": swap}, "unknown family of the test images `swop`; did you mean `swap`"),
        ({"swap": swap[swap["label"] == "fake"]}, "no real image"),
        ({"swap": swap.drop(columns="generator")}, "lack the columns generator"),
    ):
        with pytest.raises(DfdError, match=message):
            leave_one_out(wrong)


def test_the_heat_map_shows_every_cell_and_frames_the_unseen(each):
    cells = leave_one_out(each, resamples=10)
    matrix = matrix_of(cells)
    axis = plots.generalisation_matrix(cells).axes[0]
    texts = [text.get_text() for text in axis.texts]
    assert texts == [f"{value:.3f}" for value in matrix.to_numpy().ravel()]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == list(matrix.index)
    assert [tick.get_text() for tick in axis.get_xticklabels()] == [f"{name}\nn = 40" for name in FAMILIES]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("tested on the fakes of", "trained without")
    assert [patch.get_xy() for patch in axis.patches] == [(0, 1), (1, 2), (2, 3)]
    assert axis.get_title() == "Fakes of each family against 120 real images; framed: never seen in training"


def test_the_heat_map_takes_data_sets_and_gaps():
    rows = [("a", "mine", 0.9), ("a", "cost_$", 0.4), ("b", "mine", np.nan), ("b", "cost_$", 0.8)]
    table = pd.DataFrame(rows, columns=["detector", "dataset", "auc"]).assign(n_fake=20, n_real=1000)
    axis = plots.generalisation_matrix(table).axes[0]
    assert [text.get_text() for text in axis.texts] == ["0.900", "0.400", "0.800", "–"]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["mine\nn = 20", "cost \\$\nn = 20"]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("tested on", "detector", "AUC")
    assert not axis.patches
    with pytest.raises(DfdError, match="nothing to draw"):
        plots.generalisation_matrix(table.assign(auc=np.nan))
