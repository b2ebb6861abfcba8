"""The command `dfd`: a thin shell over the library.

Results go to the standard output, as tables on a terminal, and as JSON or the path of a file where a program
reads; all else goes to the standard error. The exit code is 0 on success, 2 for wrong usage and 1 for any other failure.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import tyro

from dfdlib import __version__
from dfdlib.cli import data, generalise, learn, use
from dfdlib.cli.options import UsageError
from dfdlib.cli.terminal import show
from dfdlib.core.errors import DfdError, unknown

COMMANDS = {
    "demo-data": data.demo_data,
    "fetch": data.fetch,
    "scan": data.scan,
    "split": data.split,
    "train": learn.train,
    "finetune": learn.finetune,
    "calibrate": learn.calibrate,
    "evaluate": learn.evaluate,
    "generalise": generalise.generalise,
    "results": generalise.results,
    "predict": use.predict,
    "explain": use.explain,
    "serve": use.serve,
    "report": use.report,
    "export": use.export,
}

_DESCRIPTION = """Train a detector of fake images, judge it, and use it.

examples:
  dfd demo-data                                   draw the demo set; prints its manifest
  dfd fetch cifake                                download a public data set; dfd fetch lists those that are known
  dfd train --data photos --out run --epochs 10   train on a folder with real/ and fake/
  dfd predict new/ --model run/best_model.pt      judge every image of a folder: test.csv
  dfd predict one.jpg --model run/best_model.pt   judge one image
  dfd predict film.mp4 --model run/best_model.pt --timeline out
  dfd explain new/ --model run/best_model.pt --out heatmaps
  dfd serve --model run/best_model.pt             a page on http://127.0.0.1:8000
  dfd evaluate --model run/best_model.pt --data a --data b
  dfd generalise a b c --out run                  train on each of three data sets, and test on each
  dfd --version                                   print the version

Results are tables on a terminal; --json, or a pipe, makes them JSON.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    arguments = [argument for argument in arguments if argument != "--json"]
    try:
        if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
            raise UsageError(f"{unknown('command', arguments[0], COMMANDS)} `dfd --help` explains them.")
        if "--version" in arguments[:1]:
            result = f"dfdlib {__version__}"
        else:
            result = tyro.extras.subcommand_cli_from_dict(
                COMMANDS,
                prog="dfd",
                description=_DESCRIPTION,
                args=arguments,
                config=(tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName),
            )
    except DfdError as error:
        print(f"dfd: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("dfd: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    if result is not None:
        _tell(result, as_json)
    return 0


def _tell(result: Any, as_json: bool) -> None:
    """Print a result for whoever reads it; as JSON a table is its rows, not its path."""
    is_table, terminal = isinstance(result, str) and result.endswith(".csv"), sys.stdout.isatty()
    if isinstance(result, str) and not as_json and not (terminal and is_table):
        print(result)
        return
    if terminal and not as_json:
        show(result)
        return
    if is_table:
        import pandas as pd

        from dfdlib.core.files import plain

        result = plain(pd.read_csv(result).to_dict("records"))
    print(json.dumps(result, indent=2, ensure_ascii=False))
