"""One page over all runs: metrics with intervals, figures, model cards, and what is wrong with them."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from dfdlib import __version__
from dfdlib.core.errors import DfdError
from dfdlib.core.files import write_text
from dfdlib.evaluation.metrics import METRICS
from dfdlib.models.checkpoint import load_detector
from dfdlib.models.detector import Detector
from dfdlib.reports.checks import Finding, check_run
from dfdlib.reports.notebooks import Executed

_TEMPLATE = Path(__file__).with_name("site.html")
_THUMBNAIL = (560, 420)
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
    def split(self) -> str:
        """The split whose metrics stand for the run: `test` where it was judged."""
        judged = self.report.get("metrics") or {}
        return "test" if "test" in judged else next(iter(judged), "")

    @property
    def scores(self) -> dict[str, Any]:
        """The metrics of that split; empty where nothing was judged."""
        return (self.report.get("metrics") or {}).get(self.split, {})


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
    environment.filters |= {"number": _number, "duration": _duration}
    page = environment.get_template(_TEMPLATE.name).render(
        runs=[_described(run, out.parent) for run in runs],
        compared={run.name.replace("/", "-"): _compared(run) for run in runs if run.scores},
        failed=[one for one in executed if one.error],
        metrics=SHOWN,
        version=__version__,
        built=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(out, page)
    return out


def _described(run: Run, home: Path) -> dict[str, Any]:
    """Put together what the page says of a run."""
    versions = run.report.get("versions") or {}
    return {
        "name": run.name,
        "id": run.name.replace("/", "-"),
        "report": run.report,
        "data": run.report.get("data") or {},
        "split": run.split,
        "scores": run.scores,
        "values": {key: with_interval(run.scores, key) for key in SHOWN},
        "findings": run.findings,
        "groups": {
            title: run.report.get(key) or {}
            for title, key in (("generator", "by_generator"), ("category", "by_category"))
        },
        "machine": versions.get("machine", ""),
        "commit": versions.get("commit") or "",
        "settings": run.report.get("settings") or {},
        "versions": versions,
        "figures": [_figure(file, home) for file in sorted(run.folder.glob("*.png"))],
        "links": _links(run.folder, home),
        "cards": [card for file in _checkpoints(run.folder) if (card := _card(file, run)) is not None],
    }


def _compared(run: Run) -> dict[str, Any]:
    """Return what the table of chosen runs shows."""
    data = run.report.get("data") or {}
    return {
        "name": run.name,
        "data": f"{data.get('root')} {data.get('fingerprint')}",
        "judged": f"{run.split}, n = {run.scores.get('n')}",
        "values": [(title, with_interval(run.scores, key)) for key, title in SHOWN.items()],
    }


def with_interval(scores: Mapping[str, Any], key: str) -> str:
    """Return a metric and its interval as text, such as `0.962 [0.934, 0.985]`; a dash where it is missing."""
    value, ends = scores.get(key), scores.get(f"{key}_95")
    if not isinstance(value, (int, float)):
        return "–"
    if not ends or ends[0] is None:
        return _number(value)
    return f"{_number(value)} [{_number(ends[0])}, {_number(ends[1])}]"


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
        "architecture": detector.arguments.get("backbone", detector.kind),
        "parameters": sum(weight.numel() for weight in detector.network.parameters()),
        "detector": detector,
        "switches": {k: v for k, v in detector.arguments.items() if k != "backbone" and v},
        "settings": detector.provenance.get("settings") or {},
        "versions": detector.provenance.get("versions") or {},
        "data": detector.provenance.get("data", ""),
        "n_seen": 0 if detector.training_digests is None else len(detector.training_digests),
        "unfit": _unfit(detector, run, run.scores if main else {}),
        "main": main,
        "robustness": _worst(pd.read_csv(robustness)) if main and robustness.is_file() else [],
    }


def _unfit(detector: Detector, run: Run, scores: Mapping[str, Any]) -> list[str]:
    """Say what a detector is not fit for, as far as its run shows."""
    root = str((run.report.get("data") or {}).get("root", ""))
    texts = ["Images of another kind than its training images, and fakes of kinds that are not among them."]
    if "demo" in root:
        texts.insert(0, "Photographs: it has seen drawn images of the demo set alone.")
    caught = scores.get("tpr_at_1_fpr")
    if caught is not None and caught < 0.5:
        texts.append(
            f"Searching many images for a few fakes: at 1 % false alarms it finds {caught:.0%} of them."
        )
    if detector.decision.band is None:
        texts.append('Saying "can\'t tell": no band was fitted.')
    texts.append("Deciding over people: its answer is a hint for someone who looks closer.")
    return texts


def _worst(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each degradation its strongest level."""
    degraded = table[table["degraded"].astype(bool)]
    return degraded.groupby(["detector", "degradation"], sort=False).tail(1).to_dict("records")


def _figure(file: Path, home: Path) -> dict[str, str]:
    """Return a figure as a small JPEG within the page, and where the whole one is."""
    with Image.open(file) as image:
        small = image.convert("RGB")
    small.thumbnail(_THUMBNAIL)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return {
        "title": file.stem.replace("_", " "),
        "url": f"data:image/jpeg;base64,{data}",
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


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
