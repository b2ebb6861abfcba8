"""The page of results: every number of the stored runs, and how to measure it again."""

import json

import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError
from dfdlib.reports.report import Report
from dfdlib.reports.results import write_results
from dfdlib.training.settings import TrainConfig


@pytest.fixture
def runs(tmp_path, predictions):
    """A run that was judged and degraded, and one across data sets."""
    (tmp_path / "my_photos").mkdir()
    table = predictions.assign(root=str(tmp_path / "my_photos"))
    within = Report("dfd train", TrainConfig(seed=7), tmp_path / "runs" / "within")
    within.save_metrics(table, {"test": table})
    levels = {
        "degradation": ["jpeg", "jpeg"],
        "level": [np.nan, 50],
        "unit": "quality",
        "degraded": [False, True],
    }
    measured = {"n": 4, "auc": [0.9, 0.8], "auc_low": [0.8, 0.7], "auc_high": [1.0, 0.95]}
    within.save_table(pd.DataFrame({"detector": "it", **levels, **measured}), "robustness.csv")
    across = Report("dfd generalise", TrainConfig(), tmp_path / "runs" / "across")
    rows = [("a", "a", "seen", 0.9), ("a", "b|c", "unseen", 0.5)]
    cells = pd.DataFrame(rows, columns=["trained_on", "tested_on", "relation", "auc"])
    across.save_table(cells.assign(n=1200, auc_low=cells["auc"] - 0.1, auc_high=0.95), "generalise.csv")
    across.save_metrics(table, {}, protocol="sources", finding="It falls.", model="resnet", seeds=[0, 1])
    return tmp_path / "runs"


def change(folder, **entries):
    file = folder / "metrics.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def test_every_run_stands_on_the_page_with_what_made_it(runs, tmp_path):
    change(runs / "within", command="dfd train --data my_photos", seconds=12.5)
    change(
        runs / "across", command=None, versions={"machine": "a CPU, 2 cores", "torch": "2.0", "commit": "abc"}
    )
    write_results([runs, runs / "within"], tmp_path / "RESULTS.md")
    text = (tmp_path / "RESULTS.md").read_text()
    scores = json.loads((runs / "within" / "metrics.json").read_text())["metrics"]["test"]
    low, high = scores["auc_95"]
    row = f"| within | my_photos, test | 4 | {scores['auc']:.3f} [{low:.3f}, {high:.3f}] |"
    assert text.count(row) == 1, "a run that two folders hold is shown once"
    assert "It falls.\n\n`across`, resnet" in text
    assert "| trained on | on a (n = 1,200) | on b\\|c (n = 1,200) |" in text
    assert "| a | 0.900 [0.800, 0.950] | **0.500 [0.400, 0.950]** |" in text
    assert "| within | jpeg, 50 quality | 4 | 0.800 [0.700, 0.950] |" in text
    assert "- **within**: `dfd train --data my_photos`; seed 7; 12 s; " in text
    assert "- **across**: dfd generalise; seeds 0, 1; " in text
    assert "; torch 2.0; commit abc; a CPU, 2 cores" in text
    assert "older" not in text, "no heading without a run"
    assert str(tmp_path) not in text


def test_without_a_result_there_is_no_page(tmp_path):
    with pytest.raises(DfdError, match=r"no run with results below .*; train or judge"):
        write_results([tmp_path], tmp_path / "RESULTS.md")
    assert not (tmp_path / "RESULTS.md").exists()
