"""The command line: what it prints where, and that it does what the library does."""

import functools
import hashlib
import inspect
import json
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time

import cv2
import numpy as np
import pandas as pd
import pytest

from dfdlib import __version__, create_detector, load_detector, save_detector
from dfdlib.cli import data
from dfdlib.cli.app import COMMANDS, main
from dfdlib.cli.terminal import show
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import content_digests, files_of, read_manifest, root_of, write_manifest
from dfdlib.demo.sets import DEMO_IMAGES
from dfdlib.evaluation.files import frame_scores
from dfdlib.evaluation.predictions import predict
from dfdlib.evaluation.tables import video_level
from dfdlib.serve.feedback import FeedbackStore
from dfdlib.training.settings import TrainConfig


@pytest.fixture
def model(tmp_path):
    file = tmp_path / "model.pt"
    save_detector(create_detector("resnet10t", 24, ("animals", "vehicles"), pretrained="none"), file)
    return str(file)


@pytest.fixture
def photos(tmp_path):
    """Two classes in folders; fakes have a checkerboard."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        image = cv2.resize(rng.integers(40, 216, (5, 5, 3), dtype=np.uint8), (40, 40))
        label = ("real", "fake")[seed % 2]
        if seed % 2:
            image[::2, ::2] = np.clip(image[::2, ::2].astype(int) + 30, 0, 255)
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "photos" / label / f"{seed}.png"), image)
    return tmp_path / "photos"


def dfd(capsys, *arguments):
    """Run a command; return its exit code and what it said on both outputs."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stopped:  # help, and most of what is wrong usage
        code = stopped.code
    out, err = capsys.readouterr()
    return code, out, err


def test_help_is_quick():
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "dfdlib", "--help"], capture_output=True, text=True, check=True
    )
    assert time.perf_counter() - started < 2  # 0.1 s when nothing else runs
    for shown in (*COMMANDS, "examples:"):
        assert shown in done.stdout


def test_importing_the_command_line_imports_nothing_heavy():
    heavy = "{'torch', 'pandas', 'numpy', 'cv2', 'sklearn', 'flask', 'matplotlib'}"
    code = f"import sys, dfdlib.cli.app; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_version(capsys):
    assert dfd(capsys, "--version")[:2] == (0, f"dfdlib {__version__}\n")


def test_the_help_tells_the_size_of_the_demo_set(capsys):
    assert f"(default: {DEMO_IMAGES})" in dfd(capsys, "demo-data", "--help")[1]
    assert inspect.signature(data.demo_data).parameters["images"].default == DEMO_IMAGES


def test_one_image_gives_json(capsys, model, photos):
    code, out, err = dfd(capsys, "predict", photos / "fake" / "1.png", "--model", model)
    verdict = json.loads(out)
    assert (code, err) == (0, "")
    assert verdict["verdict"] in ("real", "fake", "can't tell")
    assert verdict["decision"] in ("REAL", "FAKE")
    assert verdict["p_fake"] == verdict["probability"]
    assert 0 <= verdict["probability"] <= 1
    assert verdict["category"] in ("animals", "vehicles")
    for threshold, decision in ((0.0, "FAKE"), (1.0, "REAL")):
        _, out, _ = dfd(capsys, "predict", photos / "fake/1.png", "--model", model, "--threshold", threshold)
        assert json.loads(out)["decision"] == decision


def test_a_terminal_gets_tables_and_json_when_asked(capsys, model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (photos / "real" / "broken.png").write_bytes(b"")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    one = ("predict", photos / "fake" / "1.png", "--model", model)
    _, out, _ = dfd(capsys, *one)
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if line.strip())
    assert {"file", "verdict", "p_fake", "category"} <= set(lines)
    assert "decision" not in out
    assert json.loads(dfd(capsys, *one, "--json")[1])["verdict"] == lines["verdict"].strip()
    code, out, err = dfd(capsys, "predict", photos, "--model", model)
    assert code == 0
    assert len(out.splitlines()) == 1 + 20 + 1 + 1, "names, the first rows, how many more, the path"
    assert out.splitlines()[0].split() == ["file", "verdict", "p_fake", "category", "error"]
    assert out.splitlines()[-1] == "test.csv"
    verdicts = pd.read_csv("test.csv")["verdict"]
    counts = ", ".join(f"{(verdicts == one).sum()} {one}" for one in ("fake", "real", "can't tell"))
    assert f"61 files: {counts}, 1 unreadable" in err
    rows = json.loads(dfd(capsys, "predict", photos, "--model", model, "--json")[1])
    assert [row["verdict"] for row in rows] == verdicts.astype(object).where(verdicts.notna(), None).tolist()


def test_metrics_stand_side_by_side_on_a_terminal(capsys):
    val, test = ({"auc": auc, "auc_95": [0.5, 1.0], "n": 8} for auc in (0.75, 0.8))
    show({"model": "run/best_model.pt", "band": [0.25, 0.5], "metrics": {"val": val, "test": test}})
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["model", "run/best_model.pt"] in rows
    assert ["band", "0.250", "to", "0.500"] in rows
    assert ["val", "test"] in rows
    assert ["AUC", "0.750", "[0.500,", "1.000]", "0.800", "[0.500,", "1.000]"] in rows
    show([{"detector": "a", "auc": None}, {"detector": "b", "ece": 0.1, "ece_low": 0.0, "ece_high": 0.2}])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["detector", "a", "b"]
    assert ["ECE", "–", "0.100", "[0.000,", "0.200]"] in rows


def test_a_mistyped_command_is_answered_with_the_nearest(capsys):
    code, _, err = dfd(capsys, "predct", "a.jpg")
    assert code == 2
    assert "unknown command `predct`; did you mean `predict`" in err


def test_a_pattern_can_name_the_single_image(capsys, model, photos, tmp_path):
    pattern = photos / "fake" / "1.pn*"
    code, _out, _ = dfd(capsys, "predict", pattern, "--model", model, "--heatmap", tmp_path / "out")
    assert code == 0
    assert (tmp_path / "out" / "gradcam.png").exists()
    line = (
        "predict",
        photos / "fake/1.png",
        "--model",
        model,
        "--heatmap",
        tmp_path,
        "--out",
        tmp_path / "a.csv",
    )
    code, _, err = dfd(capsys, *line)
    assert (code, "--out writes a table" in err) == (2, True)


def test_a_heatmap_lies_over_the_image(capsys, model, photos, tmp_path):
    code, out, _ = dfd(
        capsys, "predict", photos / "fake/1.png", "--model", model, "--heatmap", tmp_path / "out"
    )
    assert (code, json.loads(out)["heatmap"]) == (0, str(tmp_path / "out" / "gradcam.png"))
    assert cv2.imread(str(tmp_path / "out" / "gradcam.png")).shape == (40, 40, 3)
    code, _, err = dfd(capsys, "predict", photos, "--model", model, "--heatmap", tmp_path / "out")
    assert code == 1
    assert "--heatmap is for one image" in err


def test_folders_files_and_patterns_give_a_table(capsys, model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (photos / "real" / "broken.png").write_bytes(b"")
    code, out, err = dfd(
        capsys, "predict", "photos/real", "photos/fake/1.png", "photos/fake/3*.png", "--model", model
    )
    assert (code, out.strip()) == (0, "test.csv")
    table = pd.read_csv("test.csv")
    assert len(table) == 31 + 1 + 6
    assert "unreadable:" in err
    assert "broken.png is empty" in err
    detector = load_detector(model)
    manifest = read_manifest(_manifest(tmp_path, table["file"][table["error"].isna()]))
    expected = predict(detector, ImageDataset(manifest, 24))
    assert np.allclose(table["p_fake"].dropna(), expected["p_fake"], atol=1e-5)


def _manifest(root, names):
    rows = pd.DataFrame({"path": [f"photos/{name}" for name in names], "group": list(names)})
    rows[["label", "category", "split", "generator"]] = None
    rows.to_csv(root / "all.csv", index=False)
    return root / "all.csv"


def test_views_change_the_default_name(capsys, model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, out, _ = dfd(capsys, "predict", photos, "--model", model, "--tta")
    assert out.strip() == "test_tta_confidence.csv"
    code, _, err = dfd(capsys, "predict", photos, "--model", model, "--tta", "flop")
    assert code == 1
    assert "did you mean `flip`" in err


def test_from_a_folder_to_a_finetuned_detector(capsys, photos, tmp_path):
    code, out, err = dfd(capsys, "split", photos, "--val", 0.3, "--test", 0.2, "--seed", 1)
    assert (code, out.strip()) == (0, str(photos / "manifest.csv"))
    assert "train" in err
    options = ["--backbone", "resnet10t", "--image-size", 40, "--pretrained", "none"]
    options += [
        "--epochs",
        3,
        "--batch-size",
        8,
        "--learning-rate",
        0.01,
        "--no-residual",
        "--precision",
        "fp32",
    ]
    code, out, err = dfd(capsys, "train", "--data", photos, "--out", tmp_path / "run", *options)
    result = json.loads(out)
    assert code == 0
    assert "epoch   3/3" in err
    assert load_detector(result["model"]).arguments["residual"] is False
    made = {file.name for file in (tmp_path / "run").iterdir()}
    assert {"metrics.json", "test.csv", "roc.png", "confusion_real_fake.png", "learning_curves.png"} <= made
    code, out, _ = dfd(
        capsys, "evaluate", "--model", result["model"], "--data", photos, "--out", tmp_path / "e.csv"
    )
    (row,) = json.loads(out)
    assert row["n"] == result["metrics"]["test"]["n"]
    assert row["auc"] == pytest.approx(result["metrics"]["test"]["auc"])
    assert pd.read_csv(tmp_path / "e.csv")["auc"].iloc[0] == pytest.approx(row["auc"])
    assert (row["detector"], row["n_seen"]) == ("run", 0)
    assert row["ece_low"] <= row["ece"] <= row["ece_high"]
    models = ("--model", result["model"], "--model", result["model"])
    code, out, err = dfd(capsys, "evaluate", *models, "--data", photos, "--split", "train")
    assert [one["detector"] for one in json.loads(out)] == ["run (1)", "run (2)"]
    n = json.loads(out)[0]["n"]
    assert f"{n} of {n} images were seen in training" in err
    code, out, _ = dfd(capsys, "evaluate", *models, "--data", photos, "--ensemble")
    (together,) = json.loads(out)
    assert together["auc"] == pytest.approx(row["auc"])
    calibrated = ("--data", photos, "--out", tmp_path / "calibrated.pt", "--false-alarms", 0.4)
    code, out, _ = dfd(capsys, "calibrate", "--model", result["model"], *calibrated)
    fitted = json.loads(out)
    assert code == 0
    assert load_detector(fitted["model"]).decision.threshold == fitted["threshold"]
    assert tuple(fitted["band"]) == load_detector(fitted["model"]).decision.band
    val = ImageDataset(read_manifest(photos / "manifest.csv"), 40).split("val")
    reals = predict(load_detector(fitted["model"]), val).query("label == 'real'")
    assert (reals["predicted"] == "fake").mean() <= 0.4
    assert fitted["false_alarms_below"] > 0.4
    predictions = json.loads(
        dfd(capsys, "evaluate", "--model", result["model"], "--data", photos, "--split", "val")[1]
    )
    if predictions[0]["accuracy"] < 1:
        tuned = ["--model", result["model"], "--data", photos, "--out", tmp_path / "tuned", "--epochs", 1]
        code, out, _ = dfd(capsys, "finetune", *tuned)
        assert code == 0
        load_detector(json.loads(out)["model"])
        assert json.loads((tmp_path / "tuned" / "failures.json").read_text())


def test_export_and_predict_with_onnx(capsys, model, photos):
    pytest.importorskip("onnxruntime")
    code, out, _ = dfd(capsys, "export", "--model", model)
    assert code == 0
    probabilities = [
        json.loads(dfd(capsys, "predict", photos / "real/0.png", "--model", one)[1])["probability"]
        for one in (model, out.strip())
    ]
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-4)


def test_every_training_setting_is_an_option(capsys):
    _, shown, _ = dfd(capsys, "train", "--help")
    assert all(f"--{name.replace('_', '-')}" in shown for name in TrainConfig.__dataclass_fields__)
    assert "Stages of the backbone to freeze" in shown


@pytest.fixture
def called(monkeypatch):
    """Put recorders in place of the commands; return what they were called with."""
    calls = []

    def recorder(command):
        @functools.wraps(command)
        def record(*args, **given):
            calls.append(inspect.signature(command).bind(*args, **given).arguments)

        return record

    for name, command in COMMANDS.items():
        monkeypatch.setitem(COMMANDS, name, recorder(command))
    return calls


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("predict a b.jpg --model m --model n", {"paths": ("a", "b.jpg"), "model": ("m", "n"), "tta": None}),
        ("predict --model m a --tta", {"paths": ("a",), "tta": ()}),
        ("predict a --tta flip crop --model=m", {"tta": ("flip", "crop"), "model": ("m",)}),
        ("predict a --model m --threshold 1e-4 --out None", {"threshold": 1e-4, "out": "None"}),
        ("evaluate --model m --data a --data b --ensemble", {"data": ("a", "b"), "split": None, "tta": ()}),
        ("scan a --label 0_old=fake --label x=real", {"path": "a", "label": ("0_old=fake", "x=real")}),
        ("serve --origin http://a --origin http://b", {"origin": ("http://a", "http://b"), "port": 8000}),
        ("report --only 04 06", {"only": ("04", "06"), "build_only": False}),
        ("generalise a b --out o --protocol released", {"data": ("a", "b"), "protocol": "released"}),
        ("report --build-only", {"only": None, "build_only": True}),
        ("train --out o --no-residual --attention", {"residual": False, "attention": True, "data": ""}),
        (
            "train --out o --ema-decay 0.99 --learning-rate 1e-4 --no-flip --schedule plateau --freeze -1",
            {
                "config": TrainConfig(
                    ema_decay=0.99, learning_rate=1e-4, flip=False, schedule="plateau", freeze=-1
                )
            },
        ),
    ],
)
def test_options_become_typed_parameters(called, line, expected):
    assert main(line.split()) == 0
    assert {name: called[0][name] for name in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "nowhere.jpg", "--model", "MODEL"], "nowhere.jpg is no file, no folder"),
        (["predict", "x", "--model", "none.pt"], "no checkpoint at none.pt"),
        (["scan", "nowhere"], "the data folder nowhere does not exist"),
        (["evaluate", "--model", "MODEL", "--data", "nowhere"], "nowhere does not exist"),
        (["train", "--out", "run", "--epochs", "0"], "`epochs` is 0; it must be at least 1."),
        (["train", "--out", "run", "--accumulate", "3"], "it must divide `batch_size`"),
    ],
)
def test_failures_are_one_sentence_and_an_exit_code(capsys, model, arguments, message):
    code, out, err = dfd(capsys, *[model if argument == "MODEL" else argument for argument in arguments])
    assert (code, out) == (1, "")
    assert err.startswith("dfd: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "",
        "preddict",
        "predict",
        "predict --model m",
        "predict a",
        "predict a --model m --nothing",
        "predict a --model m --threshold high",
        "predict a --model m --threshold 50",
        "evaluate --model m",
        "evaluate --model m --data d --split all",
        "scan a --label fake",
        "report --only",
        "serve --port 0",
        "serve --port 80000",
        "serve --port http",
        "train",
        "train --out o --epochs many",
        "train --out o --image-size -5",
        "train --out o --backbone cnn --residual",
        "generalise --out o",
        "generalise a --out o --protocol all",
        "results",
        "train --out o --monitor accuracy",
    ],
)
def test_wrong_usage_is_told_apart(capsys, line):
    code, out, err = dfd(capsys, *line.split())
    assert (code, out) == (2, "")
    assert err


@pytest.fixture
def film(tmp_path):
    """A video of 12 frames that turn from dark to bright."""
    file = tmp_path / "films" / "film.mp4"
    file.parent.mkdir()
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 48))
    for i in range(12):
        writer.write(np.full((48, 48, 3), 20 * i, np.uint8))
    writer.release()
    return file


def test_a_video_gets_one_verdict_and_a_timeline(capsys, model, film, tmp_path):
    arguments = ("predict", film, "--model", model, "--frames", 6, "--timeline", tmp_path / "out")
    code, out, _ = dfd(capsys, *arguments)
    assert code == 0
    verdict = json.loads(out)
    assert cv2.imread(verdict["timeline"]) is not None
    scores = frame_scores([load_detector(model)], film, 6)
    assert scores["frame"].tolist() == list(range(6))
    assert verdict["probability"] == pytest.approx(video_level(scores)["p_fake"][0], abs=1e-5)


def test_training_on_each_data_set_resumes_and_ends_on_the_page_of_results(
    capsys, photos, tmp_path, monkeypatch
):
    other = shutil.copytree(photos, tmp_path / "other")
    for file in other.rglob("*.png"):
        cv2.imwrite(str(file), cv2.flip(cv2.imread(str(file)), 1))
    small = ("--backbone", "cnn", "--image-size", 24, "--epochs", 1, "--seeds", 1)
    line = ("generalise", photos, other, "--out", tmp_path / "runs" / "each", *small)
    code, out, err = dfd(capsys, *line)
    assert code == 0, err
    first = json.loads(out)
    assert [cell["relation"] for cell in first["cells"]] == ["seen", "unseen", "unseen", "seen"]
    monkeypatch.setattr("dfdlib.training.crossval.fit", lambda *_: pytest.fail("trained again"))
    assert json.loads(dfd(capsys, *line)[1]) == first
    code, out, _ = dfd(capsys, "results", tmp_path / "runs", "--out", tmp_path / "RESULTS.md")
    assert (code, out) == (0, f"{tmp_path / 'RESULTS.md'}\n")
    text = (tmp_path / "RESULTS.md").read_text()
    assert first["finding"] in text
    cell = first["cells"][1]
    assert f"**{cell['auc']:.3f} [{cell['auc_low']:.3f}, {cell['auc_high']:.3f}]**" in text
    assert {file.name for file in (tmp_path / "runs" / "each").glob("generalise.*")} == {
        f"generalise.{ending}" for ending in ("csv", "png", "svg", "json")
    }


def test_a_folder_of_images_and_videos(capsys, model, film, photos, tmp_path):
    code, out, _ = dfd(
        capsys, "predict", film.parent, photos, "--model", model, "--out", tmp_path / "all.csv"
    )
    assert code == 0
    table = pd.read_csv(out.strip())
    assert len(table) == 61
    assert table["p_fake"].notna().all()
    assert table["file"].str.endswith("film.mp4").sum() == 1
    assert dfd(capsys, "predict", photos, "--model", model, "--timeline", tmp_path)[0] == 1


def test_clips_are_judged_by_detectors_of_clips(capsys, film, photos, tmp_path):
    file = tmp_path / "clips.pt"
    save_detector(create_detector("resnet10t", 24, pretrained="none", n_frames=4), file)
    code, out, err = dfd(
        capsys, "predict", film, photos / "fake" / "1.png", "--model", file, "--out", tmp_path / "x.csv"
    )
    assert code == 0
    table = pd.read_csv(out.strip(), keep_default_na=False).set_index("file")
    assert table["p_fake"].iloc[0] != ""
    assert "is no video" in table["error"].iloc[1]
    assert "is no video" in err
    assert "gives one verdict" in dfd(capsys, "predict", film, "--model", file, "--timeline", tmp_path)[2]


def test_heatmaps_over_many_images(capsys, model, photos, tmp_path):
    (photos / "real" / "broken.png").write_bytes(b"nothing")
    code, out, err = dfd(capsys, "explain", photos / "real", "--model", model, "--out", tmp_path / "maps")
    assert code == 0
    table = pd.read_csv(out.strip(), keep_default_na=False)
    assert "broken.png" in err
    assert (table["error"] != "").sum() == 1
    for row in table[table["error"] == ""].itertuples():
        assert cv2.imread(str(tmp_path / "maps" / row.overlay)).shape == (40, 40, 3)
        assert row.overlay.endswith(f"{row.prediction}.png")
    assert (
        "did you mean `gradcam++`"
        in dfd(capsys, "explain", photos, "--model", model, "--out", tmp_path, "--method", "gradcm++")[2]
    )


def test_data_without_splits_is_split_as_for_training(capsys, photos, tmp_path):
    options = [
        "--backbone",
        "resnet10t",
        "--image-size",
        32,
        "--pretrained",
        "none",
        "--epochs",
        1,
        "--seed",
        3,
    ]
    _, out, _ = dfd(capsys, "train", "--data", photos, "--out", tmp_path / "run", *options)
    model = json.loads(out)["model"]
    for split, seen in (("val", True), ("test", False)):
        code, out, err = dfd(capsys, "evaluate", "--model", model, "--data", photos, "--split", split)
        (row,) = json.loads(out)
        assert (row["n_seen"] == row["n"], "were seen in training" in err) == (seen, seen)
    code, out, _ = dfd(capsys, "calibrate", "--model", model, "--data", photos, "--out", tmp_path / "c.pt")
    assert (code, json.loads(out)["model"]) == (0, str(tmp_path / "c.pt"))
    wrong = ("--model", model, "--data", photos, "--out", tmp_path / "tuned", "--epochs", 1, "--seed", 4)
    _, _, err = dfd(capsys, "finetune", *wrong)
    assert "test images were learned before, and are left out; was --seed another one then?" in err


def test_several_data_sets_are_scanned_split_learned_and_judged_together(capsys, photos, tmp_path):
    other = tmp_path / "other"
    for seed in range(40):
        image = np.random.default_rng(100 + seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        folder = other / ("real", "fake")[seed % 2]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{seed}.png"), image)
    both, manifest = f"{photos},{other}", tmp_path / "made" / "both.csv"
    assert "--out is required for several data sets" in dfd(capsys, "split", both)[2]
    assert dfd(capsys, "scan", both, "--out", manifest)[1].strip() == str(manifest)
    assert read_manifest(manifest)["source"].value_counts().to_dict() == {"photos": 60, "other": 40}
    split = dfd(capsys, "split", manifest, "--test", "0.2", "--out", manifest)
    assert split[0] == 0
    shares = read_manifest(manifest).groupby("source")["split"].value_counts(normalize=True)
    assert shares.loc[:, "test"].between(0.15, 0.25).all()
    assert not any((folder / "manifest.csv").exists() for folder in (photos, other, tmp_path))
    options = ["--backbone", "resnet10t", "--image-size", 32, "--pretrained", "none", "--epochs", 1]
    code, out, _ = dfd(capsys, "train", "--data", manifest, "--out", tmp_path / "run", *options)
    assert code == 0
    model = json.loads(out)["model"]
    report = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {name: row["n"] for name, row in report["by_source"].items()} == {"other": 8, "photos": 12}
    _, out, _ = dfd(capsys, "evaluate", "--model", model, "--data", both)
    rows = json.loads(out)
    assert [(row.get("source"), row["n"]) for row in rows] == [(None, 100), ("other", 40), ("photos", 60)]
    alone = json.loads(dfd(capsys, "evaluate", "--model", model, "--data", other)[1])[0]
    assert {name: rows[1][name] for name in ("auc", "auc_low", "accuracy", "n_seen")} == {
        name: alone[name] for name in ("auc", "auc_low", "accuracy", "n_seen")
    }


def test_fetching_lists_what_is_known_and_unpacks_what_it_brings(capsys, tmp_path, monkeypatch):
    code, out, _ = dfd(capsys, "fetch")
    assert code == 0
    assert {"cifake", "140k-faces", "artifact"} <= {row["name"] for row in json.loads(out)}
    assert "did you mean `cifake`" in dfd(capsys, "fetch", "cifakes")[2]
    with tarfile.open(tmp_path / "fake-0.tar", "w") as archive:
        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
        archive.add(tmp_path / "a.png", "a.png")
    (tmp_path / "a.png").unlink()
    asked = []
    monkeypatch.setattr("dfdlib.data.fetch.fetch", lambda *given: asked.append(given) or tmp_path)
    code, out, _ = dfd(capsys, "fetch", "hf:me/fakes", "--to", tmp_path)
    assert (code, out.strip()) == (0, str(tmp_path))
    assert asked == [("hf:me/fakes", str(tmp_path))]
    assert (tmp_path / ".unpacked" / "fake-0.tar" / "000000.png").is_file()


def test_calibration_is_on_images_that_were_not_learned(capsys, photos, tmp_path):
    options = ["--backbone", "resnet10t", "--image-size", 32, "--pretrained", "none", "--epochs", 1]
    train = ("train", "--data", photos, "--out", tmp_path / "run", *options, "--max-images", 50, "--seed", 3)
    model = json.loads(dfd(capsys, *train)[1])["model"]
    calibrate = ("calibrate", "--model", model, "--data", photos, "--out", tmp_path / "c.pt")
    detector = load_detector(model)
    own = len(detector.validation_digests)
    assert 0 < own < len(detector.training_digests)
    code, out, _ = dfd(capsys, *calibrate)
    assert (code, json.loads(out)["n"]) == (0, own)
    dfd(capsys, "split", photos, "--val", 0.4, "--seed", 8)
    assert json.loads(dfd(capsys, *calibrate)[1])["n"] == own
    code, out, err = dfd(capsys, *calibrate, "--split", "train")
    left = 36 - json.loads(out)["n"]
    assert f"left out: {left} images that the detector has learned from" in err
    known = detector.training_digests, detector.validation_digests
    detector.validation_digests = np.empty(0, np.int64)
    detector.training_digests = content_digests(read_manifest(photos / "manifest.csv"))
    save_detector(detector, model)
    code, _, err = dfd(capsys, *calibrate)
    assert code == 1
    assert "no labelled image in its val split that the detector has not learned from" in err
    detector.training_digests, detector.validation_digests = known[0], None
    save_detector(detector, model)
    assert "does not say which images it learned from" in dfd(capsys, *calibrate)[2]


def test_a_promise_of_few_false_alarms_needs_real_images(capsys, model, photos, tmp_path):
    calibrate = ("calibrate", "--model", model, "--data", photos, "--out", tmp_path / "c.pt")
    code, _, err = dfd(capsys, *calibrate, "--false-alarms", 0.01)
    assert code == 1
    assert re.search(
        r"there are \d real images .* about 300 are needed to show a false-alarm rate of 1\.00%", err
    )
    assert not (tmp_path / "c.pt").exists()
    code, out, err = dfd(capsys, *calibrate, "--split", "train", "--false-alarms", 0.2)
    assert code == 0
    assert json.loads(out)["false_alarms_below"] > 0


def test_fakes_alone_can_be_judged(capsys, model, photos):
    code, out, err = dfd(capsys, "evaluate", "--model", model, "--data", photos / "fake")
    (row,) = json.loads(out)
    assert (code, row["n_fake"], row["n_real"], row["auc"]) == (0, 30, 0, None)
    assert 0 <= row["fake_accuracy"] <= 1
    assert "with images of one label alone, there is no AUC" in err


def test_what_users_reported_is_learned(capsys, photos, tmp_path):
    model, store = tmp_path / "model.pt", FeedbackStore(tmp_path / "feedback.db")
    save_detector(create_detector("resnet10t", 24, pretrained="none"), model)
    rng = np.random.default_rng(9)
    for i in range(4):
        data = cv2.imencode(".png", rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))[1].tobytes()
        store.add(hashlib.sha256(data).hexdigest(), ("real", "fake")[i % 2], [], data)
    arguments = ("finetune", "--model", model, "--data", photos, "--out", tmp_path / "out", "--epochs", 1)
    code, out, _ = dfd(capsys, *arguments, "--feedback", store.path)
    assert code == 0
    result = json.loads(out)
    assert result["learned"] == 4
    assert {row["n"] for row in result["sets"] if row["set"] == "failures"} == {4}
    load_detector(result["model"])


def test_serving_needs_a_free_port_and_a_good_model(capsys, model, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ("serve", "--model", model, "--port", port, "--feedback", tmp_path / "feedback.db")
        code, _, err = dfd(capsys, *arguments)
    assert code == 1
    assert f"127.0.0.1:{port}" in err
    assert "--port" in err
    assert dfd(capsys, "serve", "--model", tmp_path / "none.pt")[0] == 1
    code, _, err = dfd(capsys, "serve", "--model", model, "--port", 80000)
    assert code == 2
    assert "from 1 to 65535" in err


def test_crops_are_judged_as_they_were_trained_on(capsys, photos, crowd, green_file, tmp_path):
    for file in photos.rglob("*.png"):
        image = cv2.imread(str(file))
        image[8:24, 10:26] = (0, 255, 0)
        cv2.imwrite(str(file), image)
    cv2.imwrite(str(photos / "real" / "landscape.png"), np.zeros((40, 40, 3), np.uint8))
    small = ("--backbone", "cnn", "--image-size", 24, "--epochs", 1, "--faces", f"{green_file}, all")
    code, out, err = dfd(capsys, "train", "--data", photos, "--out", tmp_path / "run", *small)
    assert code == 0
    assert "landscape.png shows no face" in err
    model = json.loads(out)["model"]
    assert str(load_detector(model).faces) == "green.onnx, all, margin=0.3, refuse"
    two, none = files_of(crowd)[0], files_of(crowd)[2]
    code, out, _ = dfd(capsys, "predict", two, "--model", model, "--heatmap", tmp_path / "heat")
    assert code == 0
    said = json.loads(out)
    assert [face["square"] for face in said["faces"]] == [[44, 12, 32], [1, 2, 16]]
    assert said["probability"] == pytest.approx(max(face["p_fake"] for face in said["faces"]), abs=1e-6)
    assert "shows no face" in dfd(capsys, "predict", none, "--model", model)[2]
    code, out, _ = dfd(capsys, "predict", none, "--model", model, "--faces", f"{green_file}, whole")
    assert json.loads(out)["faces"] == []
    code, out, err = dfd(capsys, "explain", *files_of(crowd), "--model", model, "--out", tmp_path / "maps")
    assert (code, err.count("shows no face")) == (0, 1)
    assert (
        "no face detector at cascade"
        in dfd(capsys, "predict", two, "--model", model, "--faces", "cascade")[2]
    )
    assert "--faces needs --model" in dfd(capsys, "serve", "--faces", "yunet")[2]


def test_what_is_judged_is_trained_stored_and_said(capsys, wide, tmp_path):
    write_manifest(wide, root_of(wide) / "manifest.csv")
    small = ("--backbone", "cnn", "--image-size", 32, "--epochs", 1, "--batch-size", 4, "--fit", "crop")
    code, out, _ = dfd(capsys, "train", "--data", root_of(wide), "--out", tmp_path / "run", *small)
    assert code == 0
    model, file = json.loads(out)["model"], files_of(wide)[1]
    code, out, err = dfd(capsys, "predict", file, "--model", model)
    assert (code, json.loads(out)["judged"], "threshold" in err) == (0, "the middle 32 × 32 pixels", False)
    tiles = ("--fit", "tiles, most=60", "--heatmap", tmp_path / "heat")
    code, out, err = dfd(capsys, "predict", file, "--model", model, *tiles)
    assert json.loads(out)["judged"] == "52 overlapping squares, the whole picture"
    assert "its threshold was fitted to crop; `dfd calibrate --fit` fits it anew" in err
    assert cv2.imread(json.loads(out)["heatmap"]).shape == (96, 320, 3)
    csv = dfd(capsys, "predict", root_of(wide) / "real", "--model", model, "--out", tmp_path / "all.csv")[1]
    assert set(pd.read_csv(csv.strip())["judged"]) == {"the middle 32 × 32 pixels"}
    given = ("--data", root_of(wide), "--out", tmp_path / "tiles.pt", "--fit", "tiles")
    code, out, err = dfd(capsys, "calibrate", "--model", model, *given)
    assert (code, "threshold was" in err) == (0, False)
    assert str(load_detector(tmp_path / "tiles.pt").native) == "tiles, most=32, top=1"
    code, out, _ = dfd(capsys, "evaluate", "--model", model, "--data", root_of(wide), "--fit", "tiles")
    assert (code, json.loads(out)[0]["n"]) == (0, 16)
    assert (
        "unknown word in `fit` `tile`" in dfd(capsys, "predict", file, "--model", model, "--fit", "tile")[2]
    )
    assert "--fit needs --model" in dfd(capsys, "serve", "--fit", "tiles")[2]
