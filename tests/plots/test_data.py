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


def test_whole_numbers_fill_bins_of_equal_size():
    """Bins of other widths hold now one, now two qualities, and look like a comb."""
    facts = pd.DataFrame({name: np.arange(400.0) for name in FACTS})
    facts["jpeg_quality"] = np.tile(np.arange(60, 100), 10)
    axis = plots.fact_distributions(facts, pd.Series(["real"] * 400)).axes[4]
    assert axis.get_title() == "JPEG quality"
    heights = axis.patches[0].get_path().vertices[:, 1]
    assert len(set(heights[heights > 0].round(6))) == 1
    one_size = plots.fact_distributions(facts.assign(width=128.0), pd.Series(["real"] * 400))
    assert [text.get_text() for text in one_size.axes[2].texts] == ["all 128"]


def test_no_legend_lies_on_a_bar_or_its_label(demo):
    for axis in plots.split_counts(demo).axes:
        legend = axis.get_legend().get_window_extent()
        drawn = [*axis.patches, *axis.texts, *axis.get_xticklabels()]
        assert not any(legend.overlaps(one.get_window_extent()) for one in drawn)
        assert all(text.get_window_extent().y1 < axis.title.get_window_extent().y0 for text in axis.texts)


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
