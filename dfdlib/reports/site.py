"""One page over all runs: metrics with intervals, figures, model cards, and what is wrong with them."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from dfdlib import __version__
from dfdlib.core.errors import DfdError
from dfdlib.core.files import plain, write_text
from dfdlib.evaluation.comparison import paired_bootstrap
from dfdlib.evaluation.metrics import METRICS
from dfdlib.evaluation.tables import as_text
from dfdlib.models.checkpoint import load_detector
from dfdlib.reports.checks import Finding, check_run
from dfdlib.reports.notebooks import Executed

_TEMPLATE = Path(__file__).with_name("site.html")
_WIDTH = 1200
"""Of a figure on the page, in pixels: enlarged it can be read without its file."""
_FULL = 5
"""A run that trained something for fewer epochs than this is a smoke run."""
_PAIRED = ("auc", "accuracy", "balanced_accuracy")
SHOWN = {
    **{
        name: metric.title
        for name, metric in METRICS.items()
        if name not in ("real_accuracy", "fake_accuracy")
    },
    "category_accuracy": "category accuracy",
}
"""Metrics that the page shows, by their key in `metrics.json`."""


@dataclass(frozen=True)
class Run:
    """What a folder of results holds."""

    name: str
    """Its folder below the root."""
    folder: Path
    report: dict[str, Any]
    """The content of `metrics.json`."""
    findings: list[Finding]

    @property
    def id(self) -> str:
        """The name as an anchor of the page."""
        return self.name.replace("/", "-")

    @property
    def split(self) -> str:
        """The split whose metrics stand for the run: `test` where it was judged."""
        judged = self.report.get("metrics") or {}
        return "test" if "test" in judged else next(iter(judged), "")

    @property
    def scores(self) -> dict[str, Any]:
        """The metrics of that split; empty where nothing was judged."""
        return (self.report.get("metrics") or {}).get(self.split, {})

    @property
    def models(self) -> list[dict[str, Any]]:
        """The detectors that the run judged on the same images, the best first: `name`, `auc`, `auc_95`."""
        judged = self.report.get("on_test") or self.report.get("models") or []
        found = [
            {"name": one["name"], "auc": one["auc"], "auc_95": [one["low"], one["high"]]}
            for one in judged
            if one.get("n") == self.scores.get("n") and one.get("auc") is not None
        ]
        alone = {"name": "", "auc": self.scores.get("auc"), "auc_95": self.scores.get("auc_95")}
        return sorted(found, key=lambda one: -one["auc"]) or ([alone] if alone["auc"] is not None else [])

    @property
    def kind(self) -> str:
        """What the run was: a smoke run or a full one, with the epochs of all its trainings."""
        settings = self.report.get("settings") or {}
        epochs = {name[:-6].strip("_"): n for name, n in settings.items() if name.endswith("epochs") and n}
        if not epochs:
            return "no training"
        text = ", ".join(
            f"{n} epoch{'s' * (n > 1)}{f' ({name})' if name else ''}" for name, n in epochs.items()
        )
        return f"{'smoke' if min(epochs.values()) < _FULL else 'full'} run: {text}"


def find_runs(root: str | Path) -> list[Run]:
    """Return the runs below a folder, by name; a `metrics.json` that cannot be read is a finding of its run."""
    runs = []
    for file in sorted(Path(root).rglob("metrics.json")):
        name = file.parent.relative_to(root).as_posix()
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            log = file.with_name("training_log.csv")
            findings = check_run(report, pd.read_csv(log) if log.is_file() else None)
        except (OSError, ValueError, AttributeError, KeyError) as error:
            report, findings = {}, [Finding("error", f"metrics.json cannot be read ({error}); run it again.")]
        runs.append(Run(name, file.parent, report, findings))
    return runs


def build_site(root: str | Path, out: str | Path = "", executed: Sequence[Executed] = ()) -> Path:
    """Write the page: one HTML file that needs no other one and no network.

    Args:
        root: Folder of the runs, each with a `metrics.json`.
        out: The file; `<root>/index.html` when not given. Files of the runs are linked where they lie below
            its folder.
        executed: What became of the notebooks that were run for it.

    Returns:
        The file.

    Raises:
        DfdError: There is no run, or the file cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    root = Path(root)
    out = Path(out) if out else root / "index.html"
    runs = find_runs(root)
    if not runs and not executed:
        raise DfdError(f"{root} holds no metrics.json; run a notebook first, such as by `make demo`.")
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent), autoescape=select_autoescape(), trim_blocks=True
    )
    environment.filters |= {"number": as_text, "duration": _duration, "interval": with_interval}
    runs.sort(key=lambda run: -run.models[0]["auc"] if run.models else 1)
    page = environment.get_template(_TEMPLATE.name).render(
        runs=[(run, _files(run, out.parent)) for run in runs],
        paired=plain(_paired(runs)),
        failed=[one for one in executed if one.error],
        metrics=SHOWN,
        version=__version__,
        built=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(out, page)
    return out


def _files(run: Run, home: Path) -> dict[str, Any]:
    """Put together what the page shows of a run beside its metrics."""
    return {
        "figures": [_figure(file, home) for file in sorted(run.folder.glob("*.png"))],
        "links": _links(run.folder, home),
        "cards": [card for file in _checkpoints(run.folder) if (card := _card(file, run)) is not None],
    }


def _paired(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Compare each two runs whose `test.csv` are of the same images, by `<id> <id>` and metric."""
    names = {"file": "path", "true_label": "label", "prediction": "predicted"}
    tables, compared = {}, {}
    for run in runs:
        if run.scores and (run.folder / "test.csv").is_file():
            table = pd.read_csv(run.folder / "test.csv").rename(columns=names)
            tables[run.id] = table if "group" in table else table.assign(group=table["path"])
    for a, b in combinations(tables, 2):
        try:
            found = {metric: paired_bootstrap(tables[a], tables[b], metric) for metric in _PAIRED}
        except DfdError:  # of other images
            continue
        compared[f"{a} {b}"] = found
    return compared


def with_interval(scores: Mapping[str, Any], key: str) -> str:
    """Return a metric and its interval as text, such as `0.962 [0.934, 0.985]`; a dash where it is missing."""
    return as_text(scores.get(key), scores.get(f"{key}_95"))


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("best_model*.pt*") if file.suffix in (".pt", ".pth"))


def _card(file: Path, run: Run) -> dict[str, Any] | None:
    """Say of a detector file what its next user must know; None where it cannot be read."""
    try:
        detector = load_detector(file)
    except DfdError:
        return None
    robustness = run.folder / "robustness.csv"
    main = file.parent == run.folder and file.name == "best_model.pt"
    return {
        "file": file.relative_to(run.folder).as_posix(),
        "megabytes": file.stat().st_size / 2**20,
        "parameters": sum(weight.numel() for weight in detector.network.parameters()),
        "detector": detector,
        "main": main,
        "robustness": worst_levels(pd.read_csv(robustness)) if main and robustness.is_file() else [],
    }


def worst_levels(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each degradation its strongest level."""
    degraded = table[table["degraded"].astype(bool)]
    return degraded.groupby(["detector", "degradation"], sort=False).tail(1).to_dict("records")


def _figure(file: Path, home: Path) -> dict[str, str]:
    """Return a figure within the page, and where its file is."""
    with Image.open(file) as image:
        small = image.convert("RGB")
    small.thumbnail((_WIDTH, 2 * _WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return {
        "title": file.stem.replace("_", " "),
        "url": f"data:image/webp;base64,{data}",
        "link": _link(file, home),
    }


def _links(folder: Path, home: Path) -> list[tuple[str, str]]:
    files = [*sorted(folder.glob("*.html")), *sorted(folder.glob("*.ipynb"))]
    names = ("metrics.json", "test.csv", "training_log.csv", "manifest.csv", "failures.json")
    files += [folder / name for name in names if (folder / name).is_file()]
    return [(file.name, link) for file in files if (link := _link(file, home))]


def _link(file: Path, home: Path) -> str:
    """Return the way from the page to a file; empty where it lies elsewhere."""
    path = os.path.relpath(file.resolve(), home.resolve())
    return "" if path.startswith("..") else Path(path).as_posix()


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
