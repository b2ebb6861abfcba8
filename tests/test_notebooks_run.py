"""Notebooks under papermill, as a user calls it: own data, own folder, and refusals."""

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "04-multitask-effv2.ipynb"
SMALL = {
    "epochs": 1,
    "image_size": 32,
    "backbone": "resnet10t",
    "stages": 1,
    "pretrained": "none",
    "batch_size": 8,
}


def papermill(cwd, out="out.ipynb", **parameters):
    """Run the notebook from `cwd`; return the exit code and what was said."""
    options = [part for name, value in parameters.items() for part in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", str(NOTEBOOK), out, "--no-progress-bar", *options]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


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
    assert scores["settings"]["epochs"] == 1
    table = pd.read_csv(home / "results/test.csv")
    assert len(table) == 6
    assert set(table["prediction"]) <= {"real", "fake"}
    assert set(table["category"]) <= {"animals", "vehicles"}
    assert table["p_fake"].between(0, 1).all()
    assert len(pd.read_csv(home / "results/training_log.csv")) == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epoch": 20}, "unknown parameter `epoch`; did you mean `epochs`"),
        ({"epochs": 0}, "`epochs` is 0; it must be at least 1"),
        ({"data_dir": "no/such/folder"}, "the data folder no/such/folder does not exist"),
    ],
)
def test_a_wrong_parameter_stops_the_run_in_seconds(tmp_path, parameters, message):
    started = time.time()
    code, said = papermill(tmp_path, **{"pretrained": "none", **parameters})
    assert code != 0
    assert message in said
    assert time.time() - started < 60
    assert (tmp_path / "out.ipynb").exists(), "the partial output stays"
