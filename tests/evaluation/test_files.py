"""Predictions of files as they come: the same numbers, every file accounted for, and no work done twice."""

import json
import os
import shutil
from dataclasses import replace
from itertools import islice

import cv2
import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError, create_detector, predict
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import files_of
from dfdlib.data.scan import scan_images
from dfdlib.evaluation.files import frame_scores, judge_files, predict_files
from dfdlib.images.picture import read_picture
from dfdlib.models.decision import Decision

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
    assert (streamed.n, streamed.n_resumed) == (11, 0)
    assert streamed.verdicts["fake"] == (table["verdict"] == "fake").sum()
    assert streamed.verdicts["unreadable"] == 1
    assert sum(streamed.verdicts.values()) == 11
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["test.csv"]


def test_names_that_are_no_text_are_judged(detector, files, tmp_path):
    (tmp_path / "odd").mkdir()
    shutil.copyfile(files_of(files)[1], tmp_path / "odd" / os.fsdecode(b"caf\xe9.png"))
    odd = scan_images(tmp_path / "odd", require_labels=False)
    predict_files([detector], odd, tmp_path / "test.csv")
    assert pd.read_csv(tmp_path / "test.csv")["file"].tolist() == ["caf\\udce9.png"]


@pytest.mark.parametrize("cut", [0, 7])
def test_an_interrupted_run_goes_on(detector, files, tmp_path, monkeypatch, cut):
    whole, broken = tmp_path / "whole.csv", tmp_path / "broken.csv"
    predict_files([detector], files, whole, batch_size=3)
    from dfdlib.evaluation import files as evaluation_files

    original = evaluation_files.judge_files

    def stop_at_the_third(*given, **settings):
        yield from islice(original(*given, **settings), 2)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation_files, "judge_files", stop_at_the_third)
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
    assert predict_files([detector], files, tmp_path / "a.csv", threshold=0.0).verdicts["fake"] == 10
    assert predict_files([detector], files, tmp_path / "b.csv", threshold=1.0).verdicts["fake"] == 0


def test_broken_files_alone_are_all_reported(detector, write_images, tmp_path):
    root = write_images(["x.png"])
    (root / "x.png").write_bytes(b"")
    streamed = predict_files([detector], scan_images(root, require_labels=False), tmp_path / "test.csv")
    assert len(streamed.unreadable) == 1
    assert list(pd.read_csv(tmp_path / "test.csv")["file"]) == ["x.png"]


def test_no_detector_is_refused(files, tmp_path):
    with pytest.raises(DfdError, match="name at least one"):
        predict_files([], files, tmp_path / "test.csv")


def test_rows_that_cannot_be_read_keep_their_place_among_the_judged(detector, files):
    detector.decision = Decision(0.5, band=(0.0, 1.1))
    parts = list(judge_files([detector], files.iloc[::-1], batch_size=4))
    assert [len(part) for part in parts] == [4, 4, 3]
    table = pd.concat(parts, ignore_index=True)
    assert list(table["path"]) == list(files["path"])[::-1]
    lost = table["path"] == "broken.jpg"
    assert (table["error"] != "").tolist() == lost.tolist()
    assert table["p_fake"].isna().tolist() == lost.tolist()
    assert set(table.loc[~lost, "verdict"]) == {"can't tell"}
    assert set(table.loc[~lost, "predicted"]) <= {"real", "fake"}


def test_a_threshold_that_is_given_leaves_no_band(detector, files):
    detector.decision = Decision(0.5, 2.0, (0.0, 1.1))
    own, given = (
        pd.concat(judge_files([detector], files, threshold=threshold)).query("error == ''")
        for threshold in (None, 1.0)
    )
    assert set(own["verdict"]) == {"can't tell"}
    assert set(given["verdict"]) == set(given["predicted"]) == {"real"}
    assert given["p_fake"].equals(own["p_fake"]), "the temperature stays"


def test_files_pictures_and_pixels_are_judged_alike(detector, write_images):
    root = write_images(["a.png"])
    picture = read_picture(root / "a.png")
    rows = pd.DataFrame({"path": ["file", "picture", "pixels"]})
    (table,) = judge_files([detector], rows, [root / "a.png", picture, picture.pixels])
    assert table["logit"].tolist() == pytest.approx([table["logit"][0]] * 3, abs=1e-5)


@pytest.fixture
def film(tmp_path):
    file = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 8, (48, 48))
    for i in range(12):
        writer.write(np.full((48, 48, 3), 20 * i, np.uint8))
    writer.release()
    return file


def test_the_frames_of_a_video_are_averaged(detector, film):
    frames = frame_scores([detector], film, 6)
    assert list(frames["frame"]) == list(range(6))
    assert set(frames["video"]) == {"film.mp4"}
    assert frames["p_fake"].nunique() > 1
    rows = pd.DataFrame({"path": ["film.mp4"]})
    (table,) = judge_files([detector], rows, [film], n_frames=6)
    assert table["logit"][0] == pytest.approx(frames["logit"].mean(), abs=1e-5)


def test_a_detector_for_clips_judges_a_video_at_once_and_no_image(film, write_images):
    clips = create_detector("resnet10t", 24, pretrained="none", n_frames=4)
    image = write_images(["a.png"]) / "a.png"
    (table,) = judge_files([clips], pd.DataFrame({"path": ["film", "a.png"]}), [film, image])
    assert np.isfinite(table["logit"][0])
    assert "is no video" in table["error"][1]
    with pytest.raises(DfdError, match="not one per frame"):
        frame_scores([clips], film)


def test_detectors_that_do_not_fit_together_are_refused(detector, files):
    clips = create_detector("resnet10t", 24, CATEGORIES, pretrained="none", n_frames=4)
    for wrong, settings, message in (
        ([detector, clips], {}, "cannot judge together"),
        ([detector], {"n_frames": 0}, "`n_frames` is 0"),
        ([detector], {"tta": ["flop"]}, "unknown view `flop`"),
    ):
        with pytest.raises(DfdError, match=message):
            next(judge_files(wrong, files, **settings))


def test_an_image_is_as_fake_as_its_most_suspicious_face(detector, crowd, green_faces, tmp_path):
    detector.faces = green_faces("all, whole")
    (table,) = judge_files([detector], crowd)
    assert [len(faces) for faces in table["faces"]] == [2, 1, 0]
    assert [face["square"] for face in table["faces"][0]] == [(44, 12, 32), (1, 2, 16)]
    alone = replace(detector, faces=None)
    picture = read_picture(files_of(crowd)[0])
    (each,) = judge_files([alone], crowd.iloc[[0, 0]], list(picture.views(*detector.fit)))
    assert [face["p_fake"] for face in table["faces"][0]] == pytest.approx(list(each["p_fake"]))
    worst = each.loc[each["p_fake"].idxmax()]
    assert table["p_fake"][0] == pytest.approx(worst["p_fake"])
    assert table["predicted_category"][0] == worst["predicted_category"]
    (whole,) = judge_files([alone], crowd)
    assert table["p_fake"][2] == pytest.approx(whole["p_fake"][2])
    assert "faces" not in whole
    predict_files([detector], crowd, tmp_path / "faces.csv")
    said = pd.read_csv(tmp_path / "faces.csv")["faces"].map(json.loads)
    assert [len(faces) for faces in said] == [2, 1, 0]
    assert said[0][0]["square"] == [44, 12, 32]


def test_images_without_a_face_are_counted_and_named(detector, crowd, green_faces, tmp_path):
    detector.faces = green_faces()
    done = predict_files([detector], crowd, tmp_path / "faces.csv")
    (error,) = done.unreadable
    assert error.endswith("c none.png shows no face that can be found.")
    data = ImageDataset(crowd, detector.fit, CATEGORIES)
    assert list(data.unreadable["path"]) == ["c none.png"]
    seen = predict(detector, data)
    assert list(pd.read_csv(tmp_path / "faces.csv")["p_fake"][:2]) == pytest.approx(
        list(seen["p_fake"]), abs=1e-6
    )


def test_only_detectors_that_crop_alike_judge_together(detector, crowd, green_faces):
    other = replace(detector, faces=green_faces())
    with pytest.raises(DfdError, match="crop to faces in different ways"):
        next(judge_files([detector, other], crowd))
    with pytest.raises(
        DfdError, match=r"24 px, bilinear, whole images, .* 24 px, bilinear, green.onnx, largest"
    ):
        predict(other, ImageDataset(crowd, 24))


def test_a_run_with_other_faces_starts_anew(detector, crowd, green_faces, tmp_path):
    detector.faces = green_faces("whole")
    rows = islice(judge_files([detector], crowd, batch_size=1), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfdlib.evaluation.files.judge_files", lambda *_, **__: broken(rows))
        with pytest.raises(KeyboardInterrupt):
            predict_files([detector], crowd, tmp_path / "faces.csv")
    assert (tmp_path / "faces.csv.partial").stat().st_size
    detector.faces = green_faces("whole, margin=0.5")
    assert predict_files([detector], crowd, tmp_path / "faces.csv").n_resumed == 0


def broken(tables):
    yield from tables
    raise KeyboardInterrupt
