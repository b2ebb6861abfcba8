"""How long until the library and the command line answer?

Starts fresh processes in turns: Python that does nothing, `import dfdlib`, the first use of what needs PyTorch,
PyTorch alone, and `dfd --help`. Prints seconds and which heavy packages each one loads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pandas as pd
from _paired import in_turns, make_parser, show, show_machine, verdict

HEAVY = ("torch", "torchvision", "timm", "cv2", "pandas", "scipy", "sklearn", "matplotlib", "numpy")
"""Packages that take long to load."""
GOALS = {"import dfdlib": 2.0, "dfd --help": 0.5}
"""The most seconds wanted."""

PROGRAMS = {
    "python, nothing": "pass",
    "import dfdlib": "import dfdlib",
    "dfd --help": "import sys; from dfdlib.cli.app import main; sys.argv[0] = 'dfd'; main(['--help'])",
    "import torch": "import torch",
    "dfdlib.predict, first use": "import dfdlib; dfdlib.predict",
}
"""Programs by name; `dfd --help` is what its console script does."""


def run(program: str) -> None:
    """Run a program in a fresh process. Raises `CalledProcessError` where it fails."""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def heavy_packages(program: str) -> list[str]:
    """Return which of `HEAVY` a program has loaded at its end."""
    ending = f"import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n{program}"
    done = subprocess.run([sys.executable, "-c", ending], check=True, capture_output=True, text=True)
    loaded = set(done.stderr.split())
    return [name for name in HEAVY if name in loaded]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = make_parser(__doc__, repeats=7, cores=None)
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=list(PROGRAMS))
    options = parser.parse_args(arguments)
    seconds = in_turns(
        {name: lambda name=name: run(PROGRAMS[name]) for name in options.programs},
        options.repeats,
        options.clock,
    )
    rows = []
    for name in options.programs:
        low, middle, high = seconds[name].quantile([0.25, 0.5, 0.75])
        row = {"program": name, "seconds": f"{middle:.3f} ({low:.3f}–{high:.3f})"}
        row["goal"] = verdict(middle, GOALS[name], at_most=True) if name in GOALS else ""
        rows.append(row | {"loads": ", ".join(heavy_packages(PROGRAMS[name])) or "none of them"})
    show("Fresh processes", pd.DataFrame(rows))
    show_machine(options, os.cpu_count() or 1, ("dfdlib", "torch", "timm"))


if __name__ == "__main__":
    main()
