"""Run outputs: figures, metrics and predictions, each with what is needed to reproduce it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dfdlib.core import paths
from dfdlib.core.errors import DfdError
from dfdlib.core.files import atomic_path, plain, safe_table, write_csv, write_json
from dfdlib.core.machine import command, versions
from dfdlib.data.manifest import fingerprint, root_of
from dfdlib.data.sources import source_names
from dfdlib.evaluation import bootstrap, metrics
from dfdlib.evaluation.tables import public_table

if TYPE_CHECKING:  # the library loads matplotlib when it first draws
    from matplotlib.figure import Figure


@dataclass
class Report:
    """The results of one run, such as that of a notebook, in one folder."""

    notebook: str
    """Name of the notebook, e.g. `04-multitask-effv2`, or of another kind of run."""
    run: Any
    """The settings of the run, a dataclass such as `notebook.MultitaskRun` or `settings.TrainConfig`."""
    folder: str | Path = ""
    """Folder of the results; empty for the notebook's own."""
    started: float = field(default_factory=time.time)

    @property
    def out_dir(self) -> Path:
        """The folder of the results: `folder`, or the run's `out_dir`, or `reports/<notebook>/`."""
        stated = self.folder or (getattr(self.run, "out_dir", ""))
        return Path(stated) if stated else paths.reports_root() / self.notebook

    def save_figure(
        self, figure: Figure, name: str, data: pd.DataFrame | None = None, model: str = "", **about: Any
    ) -> Figure:
        """Write a figure as `<name>.png` (150 dpi) and `<name>.svg`, with a `<name>.json` that says what made it.

        Its title names the model and the data.

        Args:
            figure: A figure, such as one of `plots`.
            name: Name of the files, without ending.
            data: The manifest or predictions that it shows; their number, root and fingerprint are written.
            model: Which detector it is about, in a few words.
            about: Further facts for the JSON, such as `n=450`.

        Returns:
            The figure, closed: as the last line of a cell it is shown once.

        Raises:
            DfdError: A file cannot be written.
        """
        import matplotlib.pyplot as plt

        title = [figure.get_suptitle(), " · ".join(filter(None, [model, *_names(data)]))]
        figure.suptitle("\n".join(filter(None, title)), fontsize=10)
        background = figure.get_facecolor()  # a dark style of the user's would win over it
        for kind, about_file in (("png", {}), ("svg", {"Date": None})):  # the same figure, the same file
            with atomic_path(self.out_dir / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, dpi=150, format=kind, facecolor=background, metadata=about_file)
        plt.close(figure)
        facts = {"figure": f"{name}.png", "notebook": self.notebook} | ({"model": model} if model else {})
        if data is not None:
            facts |= {"n": len(data), "data": _identity(data)}
        facts |= {**about, "settings": self.run, "versions": versions()}
        write_json(self.out_dir / f"{name}.json", plain(facts))
        return figure

    def save_predictions(self, predictions: pd.DataFrame, name: str = "test.csv") -> Path:
        """Write predictions, see `public_table`, and the group of each image."""
        write_csv(public_table(predictions).assign(group=predictions["group"]), self.out_dir / name)
        return self.out_dir / name

    def save_table(self, table: pd.DataFrame, name: str) -> None:
        """Write a table as CSV, safe to open in a spreadsheet."""
        write_csv(safe_table(table), self.out_dir / name)

    def save_unreadable(self, unreadable: pd.DataFrame) -> None:
        """Print how many images could not be read, if any, and list them in `unreadable.csv`."""
        if len(unreadable):
            write_csv(safe_table(unreadable), self.out_dir / "unreadable.csv")
            print(
                f"{len(unreadable)} images cannot be read and are left out; see {self.out_dir / 'unreadable.csv'}:"
            )
            print("\n".join(f"  {error}" for error in unreadable["error"].head(5)))

    def save_metrics(
        self, manifest: pd.DataFrame, judged: Mapping[str, pd.DataFrame], unreadable: int = 0, **more: Any
    ) -> dict[str, Any]:
        """Write `metrics.json`.

        Args:
            manifest: The images that were used.
            judged: Predictions tables by split, e.g. `{"val": …, "test": …}`; one without any label counts
                as not judged.
            unreadable: Images that were left out.
            more: Further entries at the top level, such as `training={…}`.

        Returns:
            What was written: `notebook`, `data`, `metrics` by split (of each metric its value and, as
            `<metric>_95`, its interval; `n_seen` counts images that the detector was trained on or chosen by),
            `by_generator`, `by_category`, of several data sets `by_source`, `settings`, `command` (null in a notebook),
            `versions`, `seconds`.
        """
        labelled = {name: table for name, table in judged.items() if table["label"].notna().any()}
        scores = {name: metrics.binary_metrics(table) for name, table in labelled.items()}
        for name, table in labelled.items():
            ends = bootstrap.bootstrap_metrics(table)[["low", "high"]]
            scores[name] |= {f"{metric}_95": [low, high] for metric, low, high in ends.itertuples()}
            scores[name]["n_seen"] = int(table["in_training"].sum()) if "in_training" in table else 0
        last = list(labelled.values())[-1] if labelled else None
        if last is not None and "source" in last:
            more["by_source"] = metrics.by_category(last, "source").to_dict("index")
        content = {
            "notebook": self.notebook,
            "data": {
                **_identity(manifest),
                "images": len(manifest),
                "unreadable": unreadable,
                "splits": manifest["split"].value_counts().to_dict(),
            },
            "metrics": scores,
            "by_generator": bootstrap.by_generator(last).to_dict("index") if last is not None else {},
            "by_category": metrics.by_category(last).to_dict("index") if last is not None else {},
            **more,
            "settings": self.run,
            "command": command(),
            "versions": versions(),
            "seconds": round(time.time() - self.started, 1),
        }
        content = plain(content)
        write_json(self.out_dir / "metrics.json", content)
        return content

    def check(self, names: Sequence[str]) -> None:
        """Check that the run made what it promised. Raises `DfdError` that lists what is missing or empty."""
        files = [self.out_dir / name for name in names]
        missing = [file.name for file in files if not file.is_file() or not file.stat().st_size]
        if missing:
            raise DfdError(f"{self.out_dir} lacks {', '.join(missing)}; run the notebook from the top.")


def _identity(table: pd.DataFrame) -> dict[str, str]:
    return {"root": _shown_root(table), "fingerprint": fingerprint(table)}


def _names(data: pd.DataFrame | None) -> list[str]:
    """Name a data set and its split, where there is just one."""
    if data is None or data.empty:
        return []
    splits = data["split"].unique()
    names = " and ".join(source_names(data))
    return [f"{names}{f', {splits[0]} split' if len(splits) == 1 and splits[0] else ''}"]


def _shown_root(manifest: pd.DataFrame) -> str:
    """Return the data folder relative to the project where it lies inside, so that reports can be shared."""
    root, project = root_of(manifest).resolve(), paths.project_root().resolve()
    return root.relative_to(project).as_posix() if root.is_relative_to(project) else str(root_of(manifest))
