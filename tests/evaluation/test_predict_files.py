"""Predictions of files as they come: the same numbers, every file accounted for, and no work done twice."""

import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError, create_detector, predict
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.scan import scan_images
from dfdlib.evaluation.files import predict_files

CATEGORIES = ("animals", "vehicles")


@pytest.fixture
def detector():
    return create_detector("resnet10t", 24, CATEGORIES, pretrained="none")


@pytest.fixture
def files(write_images):
    root = write_images([f"{i}.png" for i in range(9)] + ["=cmd.png"])
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    return scan_images(root, require_labels=False)


@pytest.mark.parametrize("method", ["pandas.DataFrame.to_csv", "pathlib.Path.mkdir"])
def test_a_table_that_cannot_be_written_is_one_sentence(detector, files, tmp_path, monkeypatch, method):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(method, refuse)
    with pytest.raises(DfdError, match=r"cannot write .*test\.csv.*: No space"):
        predict_files([detector], files, tmp_path / "test.csv")


def test_the_same_numbers_as_a_data_set_and_a_row_a_file(detector, files, tmp_path):
    streamed = predict_files([detector], files, tmp_path / "test.csv", batch_size=4)
    table = pd.read_csv(tmp_path / "test.csv")
    assert list(table["file"]) == [name.replace("=cmd", "'=cmd") for name in files["path"]]
    expected = predict(detector, ImageDataset(files, 24)).set_index("path")["p_fake"]
    ours = table[table["error"].isna()].set_index("file")["p_fake"].rename({"'=cmd.png": "=cmd.png"})
    assert np.allclose(ours, expected.loc[ours.index], atol=1e-6)
    (lost,) = table[table["error"].notna()].itertuples()
    assert lost.file == "broken.jpg"
    assert np.isnan(lost.p_fake)
    assert pd.isna(lost.prediction)
    assert "broken.jpg" in lost.error
    assert streamed.unreadable == [lost.error]
    assert (streamed.n, streamed.n_resumed, streamed.n_fake) == (
        11,
        0,
        int((table["prediction"] == "fake").sum()),
    )
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["test.csv"]


@pytest.mark.parametrize("cut", [0, 7])
def test_an_interrupted_run_goes_on(detector, files, tmp_path, monkeypatch, cut):
    whole, broken = tmp_path / "whole.csv", tmp_path / "broken.csv"
    predict_files([detector], files, whole, batch_size=3)
    from dfdlib.evaluation import files as evaluation_files

    original, calls = evaluation_files._judged, []

    def stop_at_the_third(*given, **settings):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*given, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(evaluation_files, "_judged", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            predict_files([detector], files, broken, batch_size=3)
    assert not broken.exists()
    partial = tmp_path / "broken.csv.partial"
    if cut:  # killed in the middle of a line
        partial.write_bytes(partial.read_bytes()[:-cut])
    streamed = predict_files([detector], files, broken, batch_size=3)
    assert streamed.n_resumed == (5 if cut else 6)
    assert broken.read_text() == whole.read_text()


def test_another_detector_starts_anew(detector, files, tmp_path):
    other = create_detector("resnet10t", 24, CATEGORIES, pretrained="none", seed=1)
    csv = tmp_path / "test.csv"
    predict_files([other], files, csv)
    finished = csv.read_text()
    (tmp_path / "test.csv.partial").write_text(finished)
    (tmp_path / "test.csv.partial.json").write_text("{}")
    assert predict_files([detector], files, csv).n_resumed == 0
    assert csv.read_text() != finished


def test_an_ensemble_may_have_several_sizes(detector, files, tmp_path):
    other = create_detector("resnet10t", 32, CATEGORIES, pretrained="none", seed=1)
    for name, detectors in (("a", [detector]), ("b", [other]), ("both", [detector, other])):
        predict_files(detectors, files, tmp_path / f"{name}.csv", tta=("flip",))
    logits = {}
    for name in ("a", "b", "both"):
        p = pd.read_csv(tmp_path / f"{name}.csv")["p_fake"].dropna()
        logits[name] = np.log(p / (1 - p))
    assert np.allclose(logits["both"], (logits["a"] + logits["b"]) / 2, atol=1e-4)


def test_a_threshold_can_be_given(detector, files, tmp_path):
    assert predict_files([detector], files, tmp_path / "a.csv", threshold=0.0).n_fake == 10
    assert predict_files([detector], files, tmp_path / "b.csv", threshold=1.0).n_fake == 0


def test_broken_files_alone_are_all_reported(detector, write_images, tmp_path):
    root = write_images(["x.png"])
    (root / "x.png").write_bytes(b"")
    streamed = predict_files([detector], scan_images(root, require_labels=False), tmp_path / "test.csv")
    assert len(streamed.unreadable) == 1
    assert list(pd.read_csv(tmp_path / "test.csv")["file"]) == ["x.png"]


def test_no_detector_is_refused(files, tmp_path):
    with pytest.raises(DfdError, match="name at least one"):
        predict_files([], files, tmp_path / "test.csv")
