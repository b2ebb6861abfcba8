"""Notebooks under papermill, as a user calls it: own data, own folder, and refusals."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "04-multitask-effv2.ipynb"
FOLDERS = ("DFD_DATA_DIR", "DFD_REPORTS_DIR", "DFD_CACHE_DIR")
SMALL = {
    "epochs": 1,
    "image_size": 32,
    "backbone": "resnet10t",
    "pretrained": "none",
    "batch_size": 8,
}


def papermill(cwd, out="out.ipynb", notebook=NOTEBOOK.stem, **parameters):
    """Run a notebook from `cwd`; return the exit code and what was said."""
    command = [sys.executable, *arguments(NOTEBOOK.with_name(f"{notebook}.ipynb"), out, **parameters)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def arguments(notebook, out, **parameters):
    """The arguments of Python that run a notebook."""
    options = [part for name, value in parameters.items() for part in ("-p", name, str(value))]
    return ["-m", "papermill", str(notebook), str(out), "--no-progress-bar", *options]


def said_in(path):
    """What the cells of an executed notebook printed."""
    outputs = [out for cell in json.loads(path.read_text())["cells"] for out in cell.get("outputs", ())]
    return "".join("".join(out["text"]) for out in outputs if out.get("name") == "stdout")


def told_of_mistakes(path):
    """The shares in the sentence under a confusion matrix: of fakes found, and of real images called fake."""
    (found, false_alarms) = re.search(
        r"finds? (\d+)% of \d+ fakes and calls? (\d+)% of \d+ real", said_in(path)
    ).groups()
    return int(found) / 100, int(false_alarms) / 100


def draw(path, seed, fake):
    """A small photograph-like image; fakes have a checkerboard."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(
        rng.integers(40, 216, (5, 5, 3), dtype=np.uint8), (40, 40), interpolation=cv2.INTER_CUBIC
    )
    if fake:
        image[::2, ::2] = np.clip(image[::2, ::2].astype(int) + 30, 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture
def own_images(tmp_path):
    root = tmp_path / "my images ü"
    for seed in range(72):
        split, label = ("train", "validation")[seed // 2 % 6 > 3], ("real", "fake")[seed % 2]
        category = ("animals", "vehicles")[seed // 2 % 2]
        draw(root / split / label / category / f"{seed}.png", seed, label == "fake")
    for seed in range(5):
        draw(root / "test" / f"{seed}.png", 100 + seed, seed % 2 == 1)
    draw(root / "test" / "=cmd.png", 200, True)
    (root / "train/real/animals/broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    return root


def test_own_images_from_an_empty_folder(own_images, tmp_path):
    home = tmp_path / "empty"
    home.mkdir()
    code, said = papermill(home, data_dir=own_images, out_dir="results", **SMALL)
    assert code == 0, said[-3000:]
    made = {path.name for path in (home / "results").iterdir()}
    figures = {
        "data_grid.png",
        "learning_curves.png",
        "confusion_real_fake.png",
        "roc.png",
        "worst_mistakes.png",
    }
    assert made >= figures | {
        "best_model.pt",
        "training_log.csv",
        "test.csv",
        "metrics.json",
        "unreadable.csv",
    }
    assert "last.pt" not in made
    assert {path.name for path in home.iterdir()} <= {"out.ipynb", "results", "data"}

    scores = json.loads((home / "results/metrics.json").read_text())
    assert list(scores) >= ["notebook", "data", "metrics", "by_generator"]
    assert scores["notebook"] == NOTEBOOK.stem
    assert scores["data"]["images"] == 78
    assert scores["data"]["unreadable"] == 1
    assert set(scores["metrics"]) == {"val"}, "the test images have no labels"
    assert {"auc", "eer", "ap", "accuracy", "category_accuracy", "n"} <= set(scores["metrics"]["val"])
    val = scores["metrics"]["val"]
    shares = val["fake_accuracy"], 1 - val["real_accuracy"]
    assert told_of_mistakes(home / "out.ipynb") == pytest.approx(shares, abs=0.006)
    assert scores["settings"]["epochs"] == 1
    table = pd.read_csv(home / "results/test.csv")
    assert len(table) == 6
    assert set(table["prediction"]) <= {"real", "fake"}
    assert set(table["category"]) <= {"animals", "vehicles"}
    assert table["p_fake"].between(0, 1).all()
    assert len(pd.read_csv(home / "results/training_log.csv")) == 1


@pytest.mark.parametrize(
    ("notebook", "parameters", "made"),
    [
        (
            "02-resnet-binary",
            {"unfrozen_epochs": 1, "cnn_epochs": 1, "views": 1},
            {"best_model.pt", "unfrozen", "cnn", "models.png", "test.csv", "unreadable.csv"},
        ),
        (
            "03-efficientnet-kfold",
            {"folds": 2, "others": "resnet10t"},
            {
                "best_model_fold0.pth",
                "best_model_fold1.pth",
                "out_of_fold.csv",
                "test.csv",
                "fold_scores.png",
            },
        ),
    ],
)
def test_the_other_notebooks_take_own_images(own_images, tmp_path, notebook, parameters, made):
    small = {"epochs": 1, "image_size": 32, "backbone": "resnet10t", "pretrained": "none", "batch_size": 8}
    home = tmp_path / "empty"
    home.mkdir()
    settings = {"data_dir": own_images, "out_dir": "results", **small, **parameters}
    code, said = papermill(home, notebook=notebook, **settings)
    assert code == 0, said[-3000:]
    assert {path.name for path in (home / "results").iterdir()} >= made | {"metrics.json"}
    scores = json.loads((home / "results/metrics.json").read_text())
    assert scores["notebook"] == notebook
    assert 0 <= scores["metrics"]["val"]["auc"] <= 1
    aucs = {row["name"]: row["auc"] for row in scores["models"]}
    for ahead, behind in re.findall(
        r"^(.+) is ahead of (.+): AUC", said_in(home / "out.ipynb"), re.MULTILINE
    ):
        assert aucs[ahead] > aucs[behind]
    assert len(pd.read_csv(home / "results/test.csv")) == 6


def test_own_videos(tmp_path):
    for i in range(40):
        split, label = ("train", "val")[i // 2 % 5 > 2], ("real", "fake")[i % 2]
        path = tmp_path / "videos" / split / label / f"{i}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 8, (32, 32))
        for frame in range(4):
            writer.write(np.full((32, 32, 3), 100 + 3 * i + 20 * (frame % 2) * (i % 2), np.uint8))
        writer.release()
    (tmp_path / "videos/train/real/broken.mp4").write_bytes(b"no video")
    small = {"epochs": 1, "image_size": 32, "backbone": "resnet10t", "pretrained": "none"}
    lstm = {"n_frames": 4, "hidden": 8, "layers": 1, "batch_size": 8, "finetune_epochs": 1}
    code, said = papermill(
        tmp_path, notebook="05-lstm-finetune", data_dir="videos", out_dir="results", **small, **lstm
    )
    assert code == 0, said[-3000:]
    made = {path.name for path in (tmp_path / "results").iterdir()}
    assert made >= {"best_model.pt", "failures.json", "clips.png", "models.png", "unreadable.csv"}
    wrong = json.loads((tmp_path / "results/failures.json").read_text())
    assert all(set(one) == {"file", "true_label", "predicted_label", "probability"} for one in wrong)
    assert ("best_model_finetuned.pth" in made) == bool(wrong)


def test_an_unknown_parameter_stops_the_run_in_seconds(tmp_path):
    started = time.time()
    code, said = papermill(tmp_path, pretrained="none", epoch=20)
    assert code != 0
    assert "unknown parameter `epoch`; did you mean `epochs`" in said
    assert time.time() - started < 60
    assert (tmp_path / "out.ipynb").exists(), "the partial output stays"


@pytest.fixture
def read_only(tmp_path):
    """Return a function that runs Python in a checkout that cannot be written, not even by root.

    It takes the arguments of Python and the folders to set; the other ones of `FOLDERS` are unset.
    """
    checkout = tmp_path / "checkout"
    for name in ("dfdlib", "notebooks"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "reports"))
    inside = [checkout, *checkout.rglob("*")]
    for path in inside:
        path.chmod(path.stat().st_mode & ~0o222)

    def python(*arguments, **folders):
        environment = {name: value for name, value in os.environ.items() if name not in FOLDERS}
        environment |= {"PYTHONPATH": str(checkout), **folders}
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=checkout,
            env=environment,
            preexec_fn=_bound_by_permissions,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    if python("-c", "open('x', 'w')")[0] == 0:
        pytest.skip("permissions do not bind this user")
    yield python
    for path in inside:
        path.chmod(path.stat().st_mode | 0o200)


def _bound_by_permissions():
    """Give up root's right to write where permissions forbid it (CAP_DAC_OVERRIDE), for the program to be run."""
    if sys.platform == "linux" and os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP


WRITE_ALL = """
import os, sys
import pandas
from dfdlib import DfdError
from dfdlib.core import files, paths
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.scan import scan_images
from dfdlib.demo.sets import demo_manifest
from dfdlib.reports import notebooks, report
from dfdlib.serve.feedback import FeedbackStore
results = report.Report("04-multitask-effv2", None)
attempts = [
    lambda: demo_manifest(20, size=64),
    lambda: ImageDataset(scan_images(sys.argv[1]), 16),
    lambda: results.save_table(pandas.DataFrame({"a": [1]}), "a.csv"),
    lambda: files.alone_in(results.out_dir).__enter__(),
    lambda: FeedbackStore(paths.data_root() / "feedback.db"),
    lambda: notebooks.run_notebook(notebooks.notebook_files(["04"])[0]),
]
for attempt in attempts:
    try:
        attempt()
        print("done")
    except DfdError as error:
        name = str(error).split(" Set ")[-1].split(" to a folder")[0]
        print(name)
        os.environ[name] = os.path.join(sys.argv[2], name)
        if attempt is not attempts[-1]:  # the notebook would run for minutes
            attempt()
        del os.environ[name]
"""


def test_a_read_only_checkout_says_what_to_set_and_then_works(own_images, tmp_path, read_only):
    code, said = read_only("-c", WRITE_ALL, own_images, tmp_path)
    assert code == 0, said[-3000:]
    data, reports, cache = FOLDERS
    assert said.split() == [data, cache, reports, reports, data, reports], said
    assert (tmp_path / data / "feedback.db").is_file()


@pytest.mark.hard
def test_a_notebook_runs_in_a_read_only_checkout(own_images, tmp_path, read_only):
    folders = {name: str(tmp_path / name) for name in FOLDERS}
    command = arguments(
        "notebooks/04-multitask-effv2.ipynb", tmp_path / "out.ipynb", data_dir=own_images, **SMALL
    )
    code, said = read_only(*command, **folders)
    assert code == 0, said[-3000:]
    assert (tmp_path / "DFD_REPORTS_DIR" / NOTEBOOK.stem / "metrics.json").is_file()
