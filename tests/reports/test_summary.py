"""A run in five lines."""

import json

import pandas as pd
import pytest

from dfdlib import DfdError
from dfdlib.reports.summary import summary


def test_it_says_score_abstentions_figures_and_the_next_command(tmp_path):
    scores = {"auc": 0.9912, "auc_95": [0.98, 1.0], "accuracy": 0.95, "n": 404}
    (tmp_path / "metrics.json").write_text(json.dumps({"metrics": {"test": scores}, "seconds": 150}))
    pd.DataFrame({"verdict": ["real", "can't tell", "fake", "fake"]}).to_csv(tmp_path / "test.csv")
    (tmp_path / "roc.png").touch()
    lines = summary(tmp_path)
    assert lines[0] == "test AUC 0.991 [0.980, 1.000], accuracy 0.950, 404 images, in 2.5 minutes"
    assert lines[1] == '"can\'t tell" of 25.0% of them'
    assert lines[2] == f"figures worth opening: {tmp_path / 'roc.png'}"
    assert lines[-1].startswith("next: ")
    assert lines[-1].endswith(f"dfd predict YOUR_IMAGES --model {tmp_path / 'best_model.pt'}")
    assert len(lines) == 5


def test_a_test_set_of_one_class_has_no_auc(tmp_path):
    scores = {"auc": None, "auc_95": None, "accuracy": 0.95, "n": 4}
    (tmp_path / "metrics.json").write_text(json.dumps({"metrics": {"test": scores}, "seconds": 60}))
    assert summary(tmp_path)[0].startswith("test AUC not defined: a class is missing, accuracy 0.950")


def test_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(DfdError, match="holds no finished run"):
        summary(tmp_path)
