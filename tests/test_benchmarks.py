"""Benchmarks: each runs on little and prints its table; no time is judged."""

import importlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dfdlib import DfdError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = {
    "decode": ("--images 2 --sides 32 48 --size 32", ["torchvision v1 on PIL", "dfdlib", "48 px"]),
    "data_epoch": (
        "--images 4 --sides 32 --size 32 --batch-size 2",
        ["PIL files, transforms v1", "dfdlib's cache", "dfdlib's cache, normalised too"],
    ),
    "inference": (
        "--images 3 --side 32 --size 32 --backbone cnn",
        ["one image at a time, PIL", "dfdlib, PyTorch", "dfdlib, ONNX", "dfdlib, ONNX, 4 views"],
    ),
    "gradcam": (
        "--images 2 --size 32 --backbone cnn",
        ["pytorch-grad-cam, batched", "dfdlib, heatmaps and logits", "dfdlib, logits alone"],
    ),
    "scan": ("--files 40 80 --per-group 2", ["40", "80"]),
    "serving": (
        "--side 48 --sizes 32 32 --rate 5 --seconds 1",
        ["one at a time, median", "page and all that it loads"],
    ),
    "training": (
        "--images 8 --size 32 --side 32 --batch-size 4 --backbones resnet18",
        ["the usual loop", "dfdlib.fit", "dfdlib's forward and backward alone"],
    ),
    "processes": (
        "--images 8 --size 32 --batch-size 2 --backbone resnet10t",
        ["one process", "2 processes"],
    ),
    "imports": ("--programs import+dfdlib dfd+--help", ["import dfdlib", "dfd --help"]),
}
"""Settings of each benchmark, and the names of some rows of its tables."""
SLOW = {"gradcam", "processes", "scan", "serving", "training"}  # they start processes of their own


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    """Import benchmarks as their commands do; the process keeps the threads it had."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.hard] if name in SLOW else []) for name in TINY]
)
def test_runs_and_prints_its_table(name, capsys, monkeypatch):
    settings, wanted = TINY[name]
    benchmark = importlib.import_module(name)
    monkeypatch.setattr(benchmark, "use_cores", lambda n: n or 1, raising=False)
    monkeypatch.setattr(benchmark, "keep_freed_memory", lambda: None, raising=False)
    arguments = [part.replace("+", " ") for part in settings.split()]
    benchmark.main(["--repeats", "1", *arguments])
    printed = capsys.readouterr().out
    table = [line[2:-2].split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    assert set(wanted) <= {cells[0] for cells in table}
    assert min(map(len, table)) >= 2
    assert re.search(r"1 repeats in turns \(wall time\); \d+ of \d+ cores of .*Python 3", printed)
    assert not {"nan", "inf"} & set(re.findall(r"[a-z]+", printed.lower()))
    for gap in re.findall(r"\d\.\de[+-]\d+", printed):  # of probabilities and heatmaps, of 1
        assert float(gap) < 1e-4
    if name == "inference":
        answers = {cells[0]: float(cells[-1]) for cells in table[-5:]}
        assert answers["dfdlib, ONNX"] < 1e-4 < answers["dfdlib, ONNX, 4 views"]


def test_every_benchmark_that_times_in_turns_is_tested():
    timed = {
        file.stem for file in BENCHMARKS.glob("*.py") if "from _paired" in file.read_text(encoding="utf-8")
    }
    assert timed - {"same_auc", "tiles", "gpu"} == set(TINY)  # the last one needs a GPU


def test_the_fast_loop_is_judged_beside_the_usual_one(capsys, monkeypatch):
    benchmark = importlib.import_module("same_auc")
    monkeypatch.setattr(benchmark, "use_cores", lambda n: n or 1)
    benchmark.main(
        ["--images", "60", "--size", "32", "--epochs", "1", "--backbone", "resnet10t", "--seeds", "2"]
    )
    printed = capsys.readouterr().out
    rows = [line[2:-2].split(" | ") for line in printed.splitlines() if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == ["0", "1"]
    assert all(0 <= float(score) <= 1 for row in rows for score in row[1:])
    gaps = [float(row[2]) - float(row[1]) for row in rows]
    assert float(re.search(r"Difference: ([+-]\S+)\.\n", printed)[1]) == pytest.approx(
        np.mean(gaps), abs=2e-3
    )
    assert re.search(r"95 % interval: \[[+-]\d", printed)
    assert re.search(r"\d+ of \d+ cores of .*Python 3", printed)


def test_ways_of_reading_a_jpeg_agree():
    decode, paired = importlib.import_module("decode"), importlib.import_module("_paired")
    files = paired.draw_jpegs(2, 64)
    mean, largest = decode.pixel_difference(files, 64)
    assert mean == pytest.approx(0, abs=1e-3)  # nothing is resized
    assert largest < 0.1
    assert 0 < decode.pixel_difference(files, 32)[0] < 3


def test_turns_rotate_and_the_warm_up_does_not_count():
    paired, calls = importlib.import_module("_paired"), []
    ways = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = paired.in_turns(ways, repeats=3, warm_up=1)
    assert seconds.shape == (3, 3)
    assert list(seconds) == list("abc")
    assert [calls[i : i + 3] for i in range(0, 12, 3)] == [list("cab"), list("abc"), list("bca"), list("cab")]
    with pytest.raises(ValueError, match="at least 1"):
        paired.in_turns(ways, repeats=0)


def test_ratios_are_taken_within_repeats():
    paired = importlib.import_module("_paired")
    seconds = pd.DataFrame({"usual": [1.0, 10.0, 4.0], "ours": [0.5, 2.0, 1.0]})  # 2, 5 and 4 times
    np.testing.assert_allclose(paired.ratios(seconds, "ours", "usual"), [3.0, 4.0, 4.5])
    table = paired.as_table(seconds, "usual", 8, "images", {"ours": 4.5}).set_index("way")
    assert table.loc["ours"].tolist() == ["1", "8", "4.00 (3.00–4.50)", "≥ 4.5: missed"]
    assert table.loc["usual", "times faster"] == "1"
    assert paired.verdict(1.0, 1.0, at_most=True) == "≤ 1: reached"
    assert paired.verdict(1.1, 1.0, at_most=True) == "≤ 1: missed"


def test_growth_of_the_scan_is_a_power():
    scan = importlib.import_module("scan")
    files = np.array([10, 100, 1000])
    runs = pd.DataFrame({"files": files, "scan s": files**1.5, "split s": 0 * files})
    assert scan.growth(runs) == pytest.approx(1.5)


def test_scratch_puts_the_cache_back(monkeypatch):
    paired = importlib.import_module("_paired")
    monkeypatch.setenv("DFD_CACHE_DIR", "before")
    with paired.scratch() as folder:
        import os

        assert os.environ["DFD_CACHE_DIR"] == str(folder / "cache")
    assert os.environ["DFD_CACHE_DIR"] == "before"
    assert not folder.exists()


def test_tiles_are_judged_beside_the_middle_square(wide, capsys, monkeypatch):
    benchmark = importlib.import_module("tiles")
    monkeypatch.setattr(benchmark, "use_cores", lambda n: n or 1)
    tiny = "--min-side 300 --size 32 --epochs 1 --backbone resnet10t --pretrained none"
    benchmark.main([str(Path(wide["root"][0]) / "real"), *tiny.split()])
    printed = capsys.readouterr().out
    rows = [line[2:-2].split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    names = [row[0] for row in rows]
    assert names == [
        "name",
        "---",
        *benchmark.WAYS,
        "method",
        "---",
        *list(benchmark.WAYS)[:3],
        "random",
        "centre",
    ]
    assert "8 photographs, 8 taken of those with 300 pixels" in printed
    assert all(re.fullmatch(r"[01]\.\d{3}( \[.*\])?|1\.0e.*", cell) for row in rows[8:] for cell in row[2:])
    with pytest.raises(DfdError, match="fewer than two such photographs; name others"):
        benchmark.main([str(Path(wide["root"][0]) / "real"), *tiny.replace("300", "400").split()])
