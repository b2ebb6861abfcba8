"""Figures of judgement: calibration."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dfdlib.evaluation.bootstrap import bootstrap_metrics
from dfdlib.evaluation.calibration import reliability
from dfdlib.plots.style import GREY, JUDGED, _labelled, _styled


@_styled
def reliability_diagram(
    before: pd.DataFrame, after: pd.DataFrame | None = None, n_bins: int = 10, n_resamples: int = 1000
) -> Figure:
    """Show how often images of about the same `p_fake` are fake, and below how `p_fake` is distributed.

    Args:
        before: Predictions as the network makes them, see `tables.with_decision`.
        after: Predictions of the same images with the fitted temperature.
        n_bins: Bins of about as many images each.
        n_resamples: Bootstrap samples for the interval of the calibration error.

    Raises:
        DfdError: Nothing is labelled.
    """
    tables = {"uncalibrated": before} if after is None else {"before": before, "after": after}
    known = [_labelled(table, "a reliability diagram") for table in tables.values()]
    figure, (axis, below) = plt.subplots(2, 1, figsize=(7, 8), sharex=True, height_ratios=(4, 1))
    axis.plot([0, 1], [0, 1], color="black", lw=0.8, ls=":", label="as it should be")
    looks = (*(((GREY, "o", "--"),) if after is not None else ()), (JUDGED, "s", "-"))
    for name, table, (colour, marker, dashes) in zip(tables, known, looks, strict=True):
        bins = reliability(table, n_bins)
        ece = bootstrap_metrics(table, ["ece"], n_resamples).loc["ece"]
        label = f"{name}: ECE {ece['value']:.3f} (95 %: {ece['low']:.3f} to {ece['high']:.3f})"
        spread = [bins["share_fake"] - bins["low"], bins["high"] - bins["share_fake"]]
        axis.errorbar(
            bins["p_fake"],
            bins["share_fake"],
            yerr=np.maximum(spread, 0),
            color=colour,
            marker=marker,
            mfc="white",
            ls=dashes,
            lw=1.2,
            capsize=2.5,
            label=label,
        )
        share = np.full(len(table), 100 / len(table))
        below.hist(
            table["p_fake"],
            np.linspace(0, 1, 26),
            weights=share,
            histtype="step",
            color=colour,
            ls=dashes,
            lw=1.4,
        )
    axis.set(ylabel="share of fakes (95 % intervals)", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    below.set(xlabel="p_fake, the probability of fake", ylabel="images (%)")
    groups = known[0]["group"].nunique()
    axis.set_title(f"Reliability, {len(known[0]):,} images of {groups:,} groups")
    figure.legend(loc="outside lower center")
    return figure
