"""What a run leaves behind: its shape, its provenance, and that a spreadsheet can open it."""

import json
import platform
from importlib.metadata import version

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from PIL import Image

from dfdlib import DfdError
from dfdlib.core import machine
from dfdlib.data.manifest import fingerprint
from dfdlib.evaluation import bootstrap, metrics
from dfdlib.evaluation.tables import public_table
from dfdlib.notebook import RunConfig
from dfdlib.reports import report

SETTINGS = {
    "data_dir": "",
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "image_size": 64,
    "faces": "",
    "backbone": "resnet18",
    "pretrained": "auto",
    "weights": "",
    "fallback": "",
    "seed": 7,
    "max_images": 0,
    "workers": 0,
}


@pytest.fixture(autouse=True)
def _commit(monkeypatch):
    monkeypatch.setattr(machine, "_commit", lambda: "0123456789ab")


@pytest.fixture
def results(tmp_path):
    return report.Report("04-multitask-effv2", RunConfig(out_dir=str(tmp_path / "out"), **SETTINGS))


@pytest.fixture
def predictions(predictions, tmp_path):
    table = predictions.assign(root=str(tmp_path / "images"))
    for path in table["path"]:
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / path).write_text(path)
    return table


def read_json(results, name):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((results.out_dir / name).read_text(), parse_constant=refuse)


def test_results_go_to_the_reports_folder_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("DFD_REPORTS_DIR", str(tmp_path))
    assert report.Report("06-gradcam", RunConfig(out_dir="", **SETTINGS)).out_dir == tmp_path / "06-gradcam"


def test_a_figure_comes_with_what_made_it(results, predictions):
    figure, axis = plt.subplots(figsize=(2, 1))
    axis.plot([0, 1])
    assert results.save_figure(figure, "roc", predictions, source="test") is figure
    assert not plt.fignum_exists(figure.number)
    with Image.open(results.out_dir / "roc.png") as image:
        assert image.size == (300, 150)
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
    facts = read_json(results, "roc.json")
    assert facts["figure"] == "roc.png"
    assert facts["notebook"] == "04-multitask-effv2"
    assert (facts["n"], facts["source"], facts["settings"]["seed"]) == (4, "test", 7)
    assert facts["data"] == {"root": predictions["root"][0], "fingerprint": fingerprint(predictions)}
    assert facts["versions"]["commit"] == "0123456789ab"
    assert facts["versions"]["torch"] == version("torch")
    assert sorted(file.name for file in results.out_dir.iterdir()) == ["roc.json", "roc.png", "roc.svg"]


def test_a_figure_stays_white_in_a_dark_style(results):
    figure = plt.figure(figsize=(1, 1), facecolor="white")
    with mpl.rc_context({"savefig.facecolor": "black"}):
        results.save_figure(figure, "white", n=3)
    with Image.open(results.out_dir / "white.png") as image:
        assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    assert read_json(results, "white.json")["n"] == 3


def test_metrics_json_has_its_shape(results, predictions):
    manifest = predictions[[*predictions.columns[:6], "root"]]
    judged = {"val": predictions, "test": predictions.iloc[:3].assign(in_training=[True, False, True])}
    content = results.save_metrics(manifest, judged, unreadable=2, weights="scratch")
    assert read_json(results, "metrics.json") == json.loads(json.dumps(content))
    assert list(content) == [
        *("notebook", "data", "metrics", "by_generator", "by_category", "weights"),
        *("settings", "command", "versions", "seconds"),
    ]
    assert content["data"] == {
        "root": predictions["root"][0],
        "fingerprint": fingerprint(manifest),
        "images": 4,
        "unreadable": 2,
        "splits": {"test": 4},
    }
    expected = metrics.binary_metrics(predictions)
    for name in ("auc", "eer", "ap", "accuracy", "category_accuracy", "n"):
        assert content["metrics"]["val"][name] == expected[name]
    assert content["metrics"]["val"]["auc_95"] == list(bootstrap.auc_interval(predictions))
    assert content["metrics"]["val"]["brier_95"][0] < content["metrics"]["val"]["brier"]
    assert content["metrics"]["test"]["n"] == 3
    assert [content["metrics"][split]["n_seen"] for split in ("val", "test")] == [0, 2]
    assert content["by_generator"]["splicing"]["n"] == 1  # of the test split
    assert content["settings"]["backbone"] == "resnet18"
    assert content["versions"]["python"] == platform.python_version()
    assert content["seconds"] >= 0
    of_two = results.save_metrics(manifest, {"val": predictions.assign(source=["x", "y", "x", "y"])})
    assert of_two["by_source"]["x"]["n"] == 2
    assert of_two["by_source"]["x"]["auc"] == 1


def test_metrics_of_one_class_are_null(results, predictions):
    results.save_metrics(predictions, {"val": predictions[predictions["label"] == "fake"]})
    scores = read_json(results, "metrics.json")["metrics"]["val"]
    assert scores["auc"] is scores["eer"] is None
    assert scores["auc_95"] == [None, None]
    assert scores["fake_accuracy"] == 0.5


def test_a_split_without_labels_is_not_judged(results, predictions):
    judged = {"val": predictions, "test": predictions.assign(label=None)}
    content = results.save_metrics(predictions, judged)
    assert list(content["metrics"]) == ["val"]
    assert content["by_generator"]["splicing"]["n"] == 2
    assert results.save_metrics(predictions, {"test": judged["test"]})["by_generator"] == {}


def test_data_inside_the_project_is_named_from_its_root(results, predictions, tmp_path, monkeypatch):
    for folder in ("notebooks", "dfdlib"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert results.save_metrics(predictions, {})["data"]["root"] == "images"


def test_the_table_that_users_read_is_written(results, predictions):
    path = results.save_predictions(predictions)
    assert path == results.out_dir / "test.csv"
    table = pd.read_csv(path, keep_default_na=False)
    assert list(table) == [*public_table(predictions), "group"]
    assert table["prediction"].tolist() == ["real", "fake", "fake", "real"]
    assert table["confidence"].tolist() == [0.9, 0.7, 0.8, 0.8]
    assert table["true_category"].tolist() == ["animals", "", "animals", "vehicles"]


def test_unreadable_images_are_counted_and_listed(results, capsys):
    results.save_unreadable(pd.DataFrame({"path": [], "error": []}))
    assert not results.out_dir.exists()
    results.save_unreadable(pd.DataFrame({"path": ["@a.png"], "error": ["@a.png is empty."]}))
    assert "1 images cannot be read" in capsys.readouterr().out
    assert pd.read_csv(results.out_dir / "unreadable.csv")["path"].tolist() == ["'@a.png"]


def test_missing_and_empty_files_are_named(results, predictions):
    results.save_predictions(predictions)
    results.check(["test.csv"])
    (results.out_dir / "roc.png").touch()
    with pytest.raises(DfdError, match=r"out lacks roc\.png, metrics\.json;"):
        results.check(["test.csv", "roc.png", "metrics.json"])
