"""The wheel: built from the checkout, it brings all that it needs and works from an empty folder."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from dfdlib import create_detector
from dfdlib.models.checkpoint import save_detector

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="finds programs where Linux and macOS have them")


@pytest.fixture(autouse=True)
def _nothing_but_the_wheel(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("dfdlib", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, checkout / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "built", "."]
    subprocess.run(build, cwd=checkout, check=True)
    return next((checkout / "built").glob("dfdlib-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment with the wheel, that shares this one's other packages."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True)
    others = [path for path in sys.path if path.endswith("site-packages")]
    (Path(site.strip()) / "others.pth").write_text("\n".join(others))
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--force-reinstall", "--target", site.strip(), wheel], check=True)
    return home / "bin"


@pytest.fixture
def empty(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.fixture
def model(tmp_path):
    save_detector(create_detector("cnn", 32, ["faces"]), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_it_holds_pages_and_templates_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "dfdlib").rglob("*") if path.is_file()}
    there = {name for name in there if "__pycache__" not in name}
    assert there == {name for name in names if ".dist-info/" not in name}


def test_it_predicts(installed, empty, model):
    where = "import dfdlib; print(dfdlib.__file__)"
    found = subprocess.check_output([installed / "python", "-c", where], cwd=empty, text=True)
    assert found.startswith(str(installed.parent)), "the wheel is tested, not the checkout"
    cv2.imwrite(str(empty / "one.png"), np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    command = [installed / "python", "-m", "dfdlib", "predict", "one.png", "--model", model]
    verdict = json.loads(subprocess.check_output(command, cwd=empty, text=True))
    assert 0 <= verdict["p_fake"] <= 1


def test_it_serves(installed, empty, model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [installed / "python", "-m", "dfdlib", "serve", "--model", model, "--port", str(port)]
    with subprocess.Popen(command, cwd=empty, stderr=subprocess.DEVNULL) as server:
        try:
            page, until = "", time.monotonic() + 60
            while not page and time.monotonic() < until:
                try:
                    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read().decode()
                except OSError:
                    time.sleep(0.2)
        finally:
            server.terminate()
    assert "<html" in page


def test_a_notebook_runs_with_it(installed, empty, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(40):
        file = tmp_path / "photos" / ("real", "fake")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), rng.integers(0, 255, (40, 50, 3), np.uint8))
    notebook = ROOT / "notebooks" / "01-data-split.ipynb"
    command = [installed / "python", "-m", "papermill", notebook, "out.ipynb", "--no-progress-bar"]
    options = ["-p", "data_dir", tmp_path / "photos", "-p", "out_dir", "results"]
    subprocess.run([*command, *options], cwd=empty, check=True, capture_output=True)
    assert (empty / "results" / "manifest.csv").is_file()
