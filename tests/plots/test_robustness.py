"""The matrix of generalisation: every cell with its interval, and what was not seen framed."""

import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError, plots


def test_the_matrix_shows_every_cell_and_frames_what_was_not_seen():
    rows = [("b", "mine", "seen", 0.9), ("b", "cost_$", "unseen", 0.4), ("a", "mine", "next", np.nan)]
    table = pd.DataFrame(
        [*rows, ("a", "cost_$", "seen", 0.8)], columns=["trained_on", "tested_on", "relation", "auc"]
    ).assign(n=1020)
    table = table.assign(auc_low=table["auc"] - 0.1, auc_high=table["auc"] + 0.1)
    axis = plots.generalisation_matrix(table).axes[0]
    texts = [text.get_text() for text in axis.texts]
    assert texts == ["0.900\n0.80–1.00", "0.400\n0.30–0.50", "0.800\n0.70–0.90", "–"]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["mine\nn = 1,020", "cost \\$\nn = 1,020"]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["b", "a"]
    assert [patch.get_xy() for patch in axis.patches] == [(1, 0), (0, 1)]
    with pytest.raises(DfdError, match="nothing to draw"):
        plots.generalisation_matrix(table.assign(auc=np.nan))
