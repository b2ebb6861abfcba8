"""Figures of judgement: what is drawn is what was computed."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from dfdlib import DfdError, calibration, intervals, metrics, plots_judge
from dfdlib.comparison import delong, mcnemar, paired_bootstrap


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 1.5, 200)
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(200)], "logit": 2 * raw})
    table["label"] = np.where(rng.random(200) < expit(raw), "fake", "real")
    table["group"] = [f"g{i // 2}" for i in range(200)]
    table["generator"] = np.where(table["label"] == "fake", np.where(raw > 0, "gan_a", "cost_$b"), None)
    table["p_fake"] = expit(table["logit"])
    return table


def dots(axis):
    """Return the places of the dots of the one error bar."""
    return axis.containers[0].lines[0].get_xydata()


def whiskers(axis, i=0):
    return [bar.vertices for bar in axis.containers[i].lines[2][0].get_paths()]


def test_reliability_before_and_after(predictions):
    after = calibration.with_temperature(predictions, 2)
    figure = plots_judge.reliability_diagram(predictions, after, n_bins=5, n_resamples=50)
    axis, below = figure.axes
    for i, table in enumerate((predictions, after)):
        bins = calibration.reliability(table, 5)
        assert axis.containers[i].lines[0].get_xydata() == pytest.approx(
            bins[["p_fake", "share_fake"]].to_numpy()
        )
        ends = np.array([bar[:, 1] for bar in whiskers(axis, i)])
        assert ends == pytest.approx(bins[["low", "high"]].to_numpy())
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    row = intervals.bootstrap_metrics(after, ["ece"], 50).loc["ece"]
    assert f"after: ECE {row['value']:.3f} (95 %: {row['low']:.3f} to {row['high']:.3f})" in texts
    assert any(text.startswith("before: ECE") for text in texts)
    assert axis.get_title() == "Reliability, 200 images of 100 groups"
    assert len(below.patches) == 2
    alone = plots_judge.reliability_diagram(predictions, n_resamples=20).axes[0]
    assert [text.get_text()[:9] for text in alone.get_legend().get_texts()] == ["as it sho", "as it is:"]
    assert not plt.get_fignums()


def test_intervals_of_each_generator(predictions):
    table = metrics.by(predictions, "generator", ["auc", "accuracy"], 50)
    axis = plots_judge.metric_intervals(table).axes[0]
    rows = table.xs("auc", level="metric").sort_values("value")
    assert dots(axis)[:, 0] == pytest.approx(rows["value"].to_numpy())
    assert np.array([bar[:, 0] for bar in whiskers(axis)]) == pytest.approx(rows[["low", "high"]].to_numpy())
    labels = [tick.get_text() for tick in axis.get_yticklabels()]
    assert labels == [rf"cost \$b (n = {rows['n'].iloc[0]})", f"gan a (n = {rows['n'].iloc[1]})"]
    assert axis.get_xlabel() == "AUC (95 % interval, dashed: chance)"
    assert axis.get_title() == "Fakes of each generator against all real images"
    accuracy = plots_judge.metric_intervals(table, "accuracy").axes[0]
    assert accuracy.get_xlabel() == "accuracy (95 % interval)"
    with pytest.raises(DfdError, match="lacks the metric 'ece'"):
        plots_judge.metric_intervals(table, "ece")
    with pytest.raises(DfdError, match="no row has a value"):
        plots_judge.metric_intervals(metrics.by(predictions, "label", ["auc"], 5))


def test_intervals_of_every_metric(predictions):
    table = intervals.bootstrap_metrics(predictions, n_resamples=50)
    axis = plots_judge.metric_intervals(table).axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()][::-1] == list(plots_judge.NAMES.values())
    assert dots(axis)[::-1, 0] == pytest.approx(table["value"].to_numpy())
    assert axis.get_title() == "200 images of 100 groups"


def test_every_metric_has_a_name():
    assert list(plots_judge.NAMES) == list(intervals.METRICS)


def test_comparisons(predictions):
    other = calibration.with_temperature(
        predictions.assign(logit=predictions["logit"].iloc[::-1].to_numpy()), 1
    )
    truth = predictions["label"] == "fake"
    several = [
        delong(truth, predictions["p_fake"], other["p_fake"]),
        mcnemar(truth, predictions["p_fake"] >= 0.5, predictions["p_fake"] >= 0.5),
        paired_bootstrap(predictions, other, "ece", 50),
        delong([1, 1], [0, 1], [1, 0]),  # not known
    ]
    axis = plots_judge.comparison(several, ("old", "new")).axes[0]
    assert dots(axis)[::-1, 0] == pytest.approx([one.difference for one in several[:3]])
    labels = [tick.get_text() for tick in axis.get_yticklabels()][::-1]
    assert labels[0] == "AUC\nDeLong"
    right = [tick.get_text() for tick in axis.child_axes[0].get_yticklabels()][::-1]
    assert right[0] == f"{several[0].a:.3f} → {several[0].b:.3f}, p < 0.001"
    assert right[1].endswith("p = 1")
    assert axis.get_title() == "old and new on the same 200 images"
    assert "new less old" in axis.get_xlabel()
    with pytest.raises(DfdError, match="needs one whose difference is known"):
        plots_judge.comparison(several[3:])
