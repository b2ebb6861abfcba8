"""Figures about a data set show its numbers."""

import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError, plots
from dfdlib.data.duplicates import FACTS
from dfdlib.evaluation.audit import LeakProbe


def test_counts_are_those_of_the_manifest(demo):
    left, right = plots.split_counts(demo).axes
    shown = [int(text.get_text()) for text in left.texts]
    assert sum(shown) == len(demo)
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["real", "fake"]
    assert sum(int(text.get_text()) for text in right.texts) == (demo["label"] == "fake").sum()


def test_facts_without_values_are_told():
    facts = pd.DataFrame({name: np.arange(10.0) for name in FACTS}).assign(jpeg_quality=np.nan)
    labels = pd.Series(["real", "fake"] * 5)
    axes = plots.fact_distributions(facts, labels).axes
    assert [text.get_text() for axis in axes for text in axis.texts] == ["none has any"]
    assert len(axes[0].patches) == 2


def test_the_probe_shows_its_interval():
    facts = pd.DataFrame({"fact": ["bytes", "red"], "auc": [0.8, 0.5]})
    axis = plots.leak_bars(LeakProbe(0.82, 0.75, 0.88, facts)).axes[0]
    widths = [bar.get_width() for bar in axis.patches]
    assert widths == pytest.approx([0.0, 0.3, 0.32])


def test_nothing_to_show_is_refused(demo):
    with pytest.raises(DfdError, match="no image to count"):
        plots.split_counts(demo.iloc[:0])
    with pytest.raises(DfdError, match="no image to show facts of"):
        plots.fact_distributions(pd.DataFrame(columns=list(FACTS)), pd.Series(dtype=object))
