"""Figures that compare trainings: what they show is what they are given."""

import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError, plots

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "val_loss": [0.7, 0.4, 0.5],
        "val_auc": [0.6, 0.9, 0.8],
        "val_accuracy": [0.5, 0.8, 0.7],
        "best": [False, True, False],
    }
)
MODELS = pd.DataFrame({"name": ["a", "b"], "auc": [0.8, 0.9], "low": [0.7, 0.85], "high": [0.85, 0.95]})


def test_curves_have_a_line_a_fold_and_mark_the_best_epoch():
    figure = plots.fold_curves([HISTORY, HISTORY])
    axis = figure.axes[1]
    lines = [line for line in axis.lines if len(line.get_xdata()) == 3]
    dots = [line for line in axis.lines if len(line.get_xdata()) == 1]
    assert len(lines) == len(dots) == 2
    assert list(lines[0].get_ydata()) == [0.6, 0.9, 0.8]
    assert (dots[0].get_xdata()[0], dots[0].get_ydata()[0]) == (2, 0.9)


def test_a_small_change_does_not_look_steep():
    flat = HISTORY.assign(train_loss=0.69, val_loss=[0.694, 0.692, 0.69], val_auc=[0.52, 0.53, 0.54])
    left, right = plots.learning_curves(flat).axes
    assert left.get_ylim()[0] == 0
    assert right.get_ylim()[0] < 0.5
    assert right.get_ylim()[1] > 1
    low = plots.learning_curves(flat.assign(val_auc=0.2)).axes[1]
    assert low.get_ylim()[0] < 0.2, "nothing is cut off"


def test_scores_of_folds_show_mean_spread_and_ensemble():
    folds = pd.DataFrame({"fold": [0, 1], "auc": [0.7, 0.9]})
    figure = plots.fold_scores(folds, MODELS)
    left, right = figure.axes
    assert "0.800 ± 0.141" in left.get_legend().get_texts()[0].get_text()
    assert [text.get_text() for text in right.texts] == ["0.800", "0.900"]


def test_whiskers_reach_the_interval():
    axis = plots.model_scores(MODELS, "n = 10").axes[0]
    segments = [segment for lines in axis.collections for segment in lines.get_segments()]
    assert np.allclose(sorted(segment[:, 1].tolist() for segment in segments), [[0.7, 0.85], [0.85, 0.95]])
    assert axis.get_title() == "n = 10"


def test_finetuning_shows_both_moments_and_a_dash_where_there_is_nothing():
    rows = [
        {
            "set": "failures",
            "detector": moment,
            "n": 4,
            "accuracy": a,
            "fake_recall": a,
            "real_recall": np.nan,
            **{f"{name}_{end}": a for name in ("accuracy", "fake_recall") for end in ("low", "high")},
            **dict.fromkeys(("real_recall_low", "real_recall_high"), np.nan),
        }
        for moment, a in (("before", 0.0), ("after", 0.75))
    ]
    figure = plots.finetuning(pd.DataFrame(rows))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.00", "0.75"]
    assert [text.get_text() for text in figure.axes[2].texts] == ["–", "–"]
    assert "n = 4" in figure.axes[0].get_xticklabels()[0].get_text()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.fold_curves([]),
        lambda: plots.fold_scores(pd.DataFrame(columns=["fold", "auc"]), MODELS),
        lambda: plots.model_scores(MODELS.iloc[:0]),
        lambda: plots.finetuning(pd.DataFrame()),
    ],
)
def test_nothing_to_show_is_refused(draw):
    with pytest.raises(DfdError, match=r"at least one|no set"):
        draw()
