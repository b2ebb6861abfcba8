"""Figures of judgement: what is drawn is what was computed."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from dfdlib import plots
from dfdlib.evaluation import bootstrap, calibration
from dfdlib.evaluation.tables import with_decision
from dfdlib.models.decision import Decision


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 1.5, 200)
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(200)], "logit": 2 * raw})
    table["label"] = np.where(rng.random(200) < expit(raw), "fake", "real")
    table["group"] = [f"g{i // 2}" for i in range(200)]
    table["generator"] = np.where(table["label"] == "fake", np.where(raw > 0, "gan_a", "cost_$b"), None)
    return with_decision(table, Decision())


def dots(axis):
    """Return the places of the dots of the one error bar."""
    return axis.containers[0].lines[0].get_xydata()


def whiskers(axis, i=0):
    return [bar.vertices for bar in axis.containers[i].lines[2][0].get_paths()]


def test_reliability_before_and_after(predictions):
    after = with_decision(predictions, Decision(temperature=2))
    figure = plots.reliability_diagram(predictions, after, n_bins=5, n_resamples=50)
    axis, below = figure.axes
    for i, table in enumerate((predictions, after)):
        bins = calibration.reliability(table, 5)
        assert axis.containers[i].lines[0].get_xydata() == pytest.approx(
            bins[["p_fake", "share_fake"]].to_numpy()
        )
        ends = np.array([bar[:, 1] for bar in whiskers(axis, i)])
        assert ends == pytest.approx(bins[["low", "high"]].to_numpy())
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    row = bootstrap.bootstrap_metrics(after, ["ece"], 50).loc["ece"]
    assert f"after: ECE {row['value']:.3f} (95 %: {row['low']:.3f} to {row['high']:.3f})" in texts
    assert any(text.startswith("before: ECE") for text in texts)
    assert axis.get_title() == "Reliability, 200 images of 100 groups"
    assert len(below.patches) == 2
    alone = plots.reliability_diagram(predictions, n_resamples=20).legends[0]
    assert [text.get_text()[:9] for text in alone.get_texts()] == ["as it sho", "uncalibra"]
    assert not plt.get_fignums()
