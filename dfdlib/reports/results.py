"""The numbers of stored runs on one page in Markdown, each with what it takes to measure it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.core.files import write_text
from dfdlib.evaluation.tables import as_text
from dfdlib.reports.site import Run, find_runs, with_interval, worst_levels

_TITLES = {
    "sources": "Across data sets",
    "generators": "Generators that were left out of training",
    "released": "From older to newer generators",
}
_INTRO = """# Results

Brackets hold 95 % intervals over groups of images. The command, the seed and the machine of each run stand at the end.
"""


def write_results(folders: Sequence[str | Path], out: str | Path) -> None:
    """Write a page over all runs below some folders: within a data set, across data sets, robustness.

    Args:
        folders: Folders that hold runs, see `site.find_runs`.
        out: The page.

    Raises:
        DfdError: There is no run with a result, or the page cannot be written.
    """
    found = {run.folder.resolve(): run for folder in folders for run in find_runs(folder)}
    runs = [run for run in found.values() if run.scores or run.report.get("protocol")]
    if not runs:
        raise DfdError(
            f"no run with results below {', '.join(map(str, folders))}; train or judge a detector first."
        )
    sections = [_INTRO, *_within([run for run in runs if run.scores])]
    for protocol, title in _TITLES.items():
        chosen = [run for run in runs if run.report.get("protocol") == protocol]
        sections += [f"## {title}\n", *map(_protocol, chosen)] if chosen else []
    sections += _robustness([run for run in runs if (run.folder / "robustness.csv").is_file()])
    sections += ["## How each run was made\n", "\n".join(map(_made, runs)) + "\n"]
    write_text(out, "\n".join(sections))


def _within(runs: Sequence[Run]) -> list[str]:
    rows = [
        {
            "run": _name(run),
            "data": f"{_data(run)}, {run.split}",
            "n": as_text(run.scores["n"]),
            "AUC": with_interval(run.scores, "auc"),
            "EER": with_interval(run.scores, "eer"),
            "accuracy": with_interval(run.scores, "accuracy"),
        }
        for run in runs
    ]
    return ["## Within one data set\n", _table(rows)] if rows else []


def _protocol(run: Run) -> str:
    """Return what a run of `training.generalise` found: its sentence and its matrix, what was not seen in bold."""
    cells, rows = pd.read_csv(run.folder / "generalise.csv"), []
    for trained_on, tests in cells.groupby("trained_on", sort=False):
        row = {"trained on": str(trained_on)}
        for cell in tests.itertuples():
            text = as_text(cell.auc, (cell.auc_low, cell.auc_high))
            row[f"on {cell.tested_on} (n = {cell.n:,})"] = text if cell.relation == "seen" else f"**{text}**"
        rows.append(row)
    about = f"`{_name(run)}`, {run.report['model']}: AUC, in bold on what was not seen in training."
    return f"{run.report['finding']}\n\n{about}\n\n{_table(rows)}"


def _robustness(runs: Sequence[Run]) -> list[str]:
    rows = [
        {
            "run": _name(run),
            "degradation": f"{level['degradation'].replace('_', ' ')}, {level['level']:g} {level['unit']}",
            "n": as_text(level["n"]),
            "AUC": as_text(level["auc"], (level["auc_low"], level["auc_high"])),
        }
        for run in runs
        for level in worst_levels(pd.read_csv(run.folder / "robustness.csv"))
    ]
    return ["## Robustness, at the strongest level of each degradation\n", _table(rows)] if rows else []


def _made(run: Run) -> str:
    """Return how a run was made: the command, or the notebook, the seeds, and the machine."""
    report, versions = run.report, run.report.get("versions") or {}
    seeds = report.get("seeds") or [(report.get("settings") or {}).get("seed")]
    command, seconds = report.get("command"), report.get("seconds")
    parts = [
        f"`{command}`" if command else str(report.get("notebook")),
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(as_text, seeds))}",
        f"{as_text(seconds and round(seconds))} s",
        *(f"{name} {versions.get(name)}" for name in ("torch", "commit")),
        str(versions.get("machine")),
    ]
    return f"- **{_name(run)}**: {'; '.join(parts)}"


def _name(run: Run) -> str:
    return run.name if run.name != "." else run.folder.resolve().name


def _data(run: Run) -> str:
    return Path((run.report.get("data") or {}).get("root", "")).name


def _table(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as a table in Markdown; a bar in a text would end its cell."""
    frame = pd.DataFrame(rows).fillna("–")
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return "".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n" for line in lines)
