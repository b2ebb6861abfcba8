"""The notebook series as a job: run headless, one after the other, whatever fails."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfdlib.core import paths
from dfdlib.core.errors import DfdError, did_you_mean
from dfdlib.core.files import WriteError, write_text


@dataclass(frozen=True)
class Executed:
    """What became of one notebook."""

    name: str
    """Such as `04-multitask-effv2`."""
    seconds: float
    error: str
    """Empty, or the last line of what went wrong."""


def notebook_files(chosen: Sequence[str] = ()) -> list[Path]:
    """Return the notebooks of the checkout in order; `chosen` are names, or the numbers they begin with.

    Raises:
        DfdError: Not within a checkout, or there is no notebook of such a name.
    """
    folder = paths.project_root() / "notebooks"
    files = sorted(folder.glob("[0-9][0-9]-*.ipynb"))
    if not files:
        raise DfdError(f"{folder} holds no notebook; run this in a checkout of dfdlib.")
    names = [file.stem for file in files]
    for name in chosen:
        if not any(known == name or known.startswith(f"{name}-") for known in names):
            raise DfdError(f"there is no notebook `{name}`{did_you_mean(name, names) or '.'}")
    wanted = [name for name in names for given in chosen if name == given or name.startswith(f"{given}-")]
    return [file for file in files if not chosen or file.stem in wanted]


def run_notebook(file: Path) -> Executed:
    """Run a notebook by papermill, and render it as HTML; what it made until a failure stays.

    Its results go to its own folder of the reports, `<name>.ipynb` and `<name>.html` with them.

    Raises:
        DfdError: The packages of `dfdlib[notebooks]` are missing, or the folder cannot be written.
    """
    try:
        import papermill
        from papermill.exceptions import PapermillExecutionError
    except ImportError as error:
        raise DfdError("running notebooks needs papermill; `pip install 'dfdlib[notebooks]'`.") from error
    out_dir = paths.reports_root().absolute() / file.stem
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"cannot write the folder {out_dir}: {error.strerror or error}.{paths.remedy(out_dir)}"
        raise WriteError(text) from error
    executed, started, error = out_dir / file.name, time.monotonic(), ""
    try:
        papermill.execute_notebook(file, executed, progress_bar=False, cwd=file.parent)
    except PapermillExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    except Exception as failure:  # a kernel that died, a notebook that cannot be read: the others still run
        error = f"{type(failure).__name__}: {failure}"
    if executed.is_file():
        _render(executed)
    return Executed(file.stem, time.monotonic() - started, error)


def _render(executed: Path) -> None:
    """Write a notebook as one HTML file, its pictures within it."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    text, _ = exporter.from_filename(str(executed))
    write_text(executed.with_suffix(".html"), text)
