"""Training that is killed where it hurts: what it ends with must be what it would have ended with."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from dfdlib import load_detector

SCRIPT = """
    import sys
    import pandas as pd
    import torch
    torch.set_num_threads(1)
    from dfdlib import create_detector, fit, predict
    from dfdlib.core.files import write_csv
    from dfdlib.data.dataset import ImageDataset
    from dfdlib.data.manifest import read_manifest
    from dfdlib.training.settings import TrainConfig
    images = ImageDataset(read_manifest(sys.argv[1]), 32)
    detector = create_detector("resnet10t", 32, pretrained="none")
    config = TrainConfig(epochs=6, batch_size=8, learning_rate=3e-3, precision="fp32", ema_decay=0.9)
    print("ready", flush=True)
    fit(detector, images.split("train"), images.split("val"), config, sys.argv[2])
    write_csv(predict(detector, images.split("val"))[["path", "p_fake"]], sys.argv[2] + "/predictions.csv")
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng, rows = np.random.default_rng(0), []
    for i in range(160):
        image = cv2.resize(rng.integers(40, 216, (5, 5, 3), dtype=np.uint8), (32, 32)).astype(int)
        image[::2, ::2] += 20 * (i % 2)
        cv2.imwrite(str(folder / f"{i}.png"), image.clip(0, 255).astype(np.uint8))
        split = "train" if i < 120 else "val"
        rows.append({"path": f"{i}.png", "label": ("real", "fake")[i % 2], "split": split, "group": str(i)})
    pd.DataFrame(rows).assign(category="", generator="").to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def start(data, out_dir):
    code = textwrap.dedent(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(data), str(out_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    for line in process.stdout:
        if line.startswith("ready"):
            break
    return process


def results(out_dir):
    detector = load_detector(out_dir / "best_model.pt")
    log = pd.read_csv(out_dir / "training_log.csv").drop(columns=["seconds", "images_per_second"])
    return detector.network.state_dict(), log, (out_dir / "predictions.csv").read_text()


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("unbroken")
    process, started = start(data, out_dir), time.monotonic()
    output = process.stdout.read()
    assert process.wait() == 0, output
    return results(out_dir), time.monotonic() - started


def killed_and_resumed(data, out_dir, n_kills, seconds, seed):
    """Kill a run at random moments, again and again, then let it end; return how often it was killed."""
    rng, killed = random.Random(seed), 0
    for _ in range(n_kills):
        process = start(data, out_dir)
        try:
            process.wait(rng.uniform(0.05, seconds))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        process.stdout.close()
        if (out_dir / "predictions.csv").exists():
            break
    if not (out_dir / "predictions.csv").exists():
        process = start(data, out_dir)
        output = process.stdout.read()
        assert process.wait() == 0, output
    return killed


def check(data, unbroken, out_dir, n_kills, seed):
    (weights, log, predictions), seconds = unbroken
    killed = killed_and_resumed(data, out_dir, n_kills, seconds, seed)
    ours, our_log, our_predictions = results(out_dir)
    assert all(torch.equal(ours[name], weights[name]) for name in weights)
    pd.testing.assert_frame_equal(our_log, log, check_exact=True)
    assert our_predictions == predictions
    left = {file.name for file in out_dir.iterdir()} - {".running.lock"}
    assert {"best_model.pt", "training_log.csv", "predictions.csv"} <= left
    assert "last.pt" not in left
    return killed


@pytest.mark.hard
def test_twenty_kills_lose_nothing(data, unbroken, tmp_path, capsys):
    killed, runs = 0, 0
    while killed < 20 and runs < 40:
        killed += check(data, unbroken, tmp_path / str(runs), n_kills=4, seed=runs)
        runs += 1
    with capsys.disabled():
        print(f"\n{killed} kills, {runs} runs, lost: 0")
    assert killed >= 20
