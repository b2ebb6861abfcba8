"""The look that all figures share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdlib.core.errors import DfdError

# After Okabe & Ito 2008: distinguishable for colour-blind readers and in print. A colour has one meaning in
# all figures: real, fake, the detector that is judged, and what it is compared with.
REAL, FAKE, JUDGED, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
SERIES = (JUDGED, "#CC79A7", "#56B4E9", "#882255", "#999933", "#332288", "#A6761D", "#000000")
_DASHES = ("-",) * 4 + ("--",) * 4  # a second cue, where colour is lost
_LEGEND = {"frameon": True, "framealpha": 0.9, "edgecolor": "none"}
_STYLE = {
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "figure.titlesize": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "font.size": 9,  # the least: at 100 dots per inch 9 points fill 12 pixels of a page that is 1,200 wide
}


@contextmanager
def _style() -> Iterator[None]:
    """Draw in our style, and leave no figure open: pyplot would keep it, and a notebook show it twice."""
    others = plt.get_fignums()
    with plt.style.context(["default", _STYLE]), plt.ioff():
        try:
            yield
        finally:
            for number in set(plt.get_fignums()) - set(others):
                plt.close(number)


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    @wraps(draw)
    def styled(*args: Any, **kwargs: Any) -> Figure:
        with _style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()  # one pass of the layout can leave texts overlapping
        return figure

    return styled


def _bare(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _colour(label: str) -> str:
    return FAKE if label == "fake" else REAL


def _shown(name: str, longest: int = 22) -> str:
    """Return a name as text that fits beside or below an image and is no formula."""
    text = str(name).replace("_", " ")
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return text.replace("$", r"\$")


def _kind(image: pd.Series) -> str:
    return _shown(image["generator"] if pd.notna(image["generator"]) else image["label"])


def _labelled(table: pd.DataFrame, what: str, column: str = "label") -> pd.DataFrame:
    """Return the rows where the column is known; refuse a table without any."""
    known = table[table[column].notna()]
    if known.empty:
        raise DfdError(f"{what} needs images whose {column} is known, and this table has none.")
    return known
