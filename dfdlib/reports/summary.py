"""A finished run in five lines: `python -m dfdlib.reports.summary FOLDER`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.models.decision import CANT_TELL

_WORTH_OPENING = ("roc.png", "generators.png", "robustness.png", "worst_mistakes.png")


def summary(folder: str | Path) -> list[str]:
    """Say what a run of notebook 04 came to: its score, how often it abstains, what to open and what to run next.

    Raises:
        DfdError: The folder holds no `metrics.json` of a judged run.
    """
    folder = Path(folder)
    try:
        report = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        split = "test" if "test" in report["metrics"] else "val"
        scores = report["metrics"][split]
    except (OSError, ValueError, KeyError) as error:
        raise DfdError(f"{folder} holds no finished run ({error}); run the notebook first.") from error
    auc = "not defined: a class is missing"
    if scores["auc"] is not None:
        auc = "{:.3f} [{:.3f}, {:.3f}]".format(scores["auc"], *scores["auc_95"])
    lines = [
        f"{split} AUC {auc}, accuracy {scores['accuracy']:.3f}, "
        f"{scores['n']} images, in {report['seconds'] / 60:.1f} minutes"
    ]
    predictions = folder / "test.csv"
    if predictions.is_file():
        verdicts = pd.read_csv(predictions)["verdict"].fillna("")
        lines.append(f'"{CANT_TELL}" of {verdicts.str.startswith(CANT_TELL).mean():.1%} of them')
    figures = [str(folder / name) for name in _WORTH_OPENING if (folder / name).is_file()]
    lines.append(f"figures worth opening: {', '.join(figures)}")
    lines.append(f"all of it, as a notebook: {folder}/04-multitask-effv2.ipynb")
    command = "dfd" if shutil.which("dfd") else os.path.relpath(Path(sys.executable).with_name("dfd"))
    lines.append(f"next: {command} predict YOUR_IMAGES --model {folder / 'best_model.pt'}")
    return lines


if __name__ == "__main__":
    try:
        print("\n".join(summary(sys.argv[1])))
    except DfdError as error:
        sys.exit(str(error))
