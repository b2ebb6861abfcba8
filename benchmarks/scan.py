"""Do scanning and splitting a data set stay fast, small and linear as it grows?

Makes folders of 1,000 to 100,000 small JPEGs (hard links of a few, two labels, three generators), and in a fresh
process each scans one (`scan.scan_images`) and makes its splits with every check (`manifest.prepare`). Prints
seconds, microseconds a file, the peak of the memory, and how the time grows with the number of files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from _paired import draw_jpegs, make_parser, scratch, show, show_machine, verdict

SECONDS_GOAL, MEGABYTES_GOAL, EXPONENT_GOAL = 20.0, 1000.0, 1.15
"""The most wanted for 100,000 files, and for the power of the number of files that the time grows with."""
LINKS = 5000
"""Links of one file; file systems allow some ten thousand."""

_CHILD = """
import json, sys, time
from dfdlib.data import manifest, scan
def peak():
    try:  # the resident peak of this program alone; `getrusage` remembers that of its parent
        lines = open("/proc/self/status", encoding="utf-8").read().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1000
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
start = peak()
now = {"wall": time.perf_counter, "cpu": time.process_time}[sys.argv[2]]
times = [now()]
table = scan.scan_images(sys.argv[1])
times.append(now())
table = manifest.prepare(table)
times.append(now())
print(json.dumps({"files": len(table), "scan s": times[1] - times[0], "split s": times[2] - times[1],
                  "MB at start": start, "MB at peak": peak()}))
"""


def make_folder(root: Path, n: int, jpegs: Sequence[bytes], per_group: int) -> None:
    """Make `n` files below `real/` and `fake/<generator>/`; more than one a group gives folders of them."""
    for i in range(n):
        folder = root / ("real/camera", "fake/gan", "fake/diffusion", "fake/swap")[(i // per_group) % 4]
        if per_group > 1:
            folder /= f"video_{i // per_group:06}"
        if i % per_group == 0 or i % LINKS == 0:
            folder.mkdir(parents=True, exist_ok=True)
        if i % LINKS == 0:
            source = folder / f"{i:06}.jpg"
            source.write_bytes(jpegs[i // LINKS % len(jpegs)])
        else:
            os.link(source, folder / f"{i:06}.jpg")


def measure(root: Path, clock: str) -> dict[str, float]:
    """Scan and split a folder in a fresh process; return its times and memory."""
    command = [sys.executable, "-c", _CHILD, str(root), clock]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def summed_up(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the table to show, one row per number of files, of what all runs measured."""
    rows = []
    for n, of_size in runs.groupby("files"):
        total = of_size["scan s"] + of_size["split s"]
        low, middle, high = total.quantile([0.25, 0.5, 0.75])
        row = {"files": f"{n:,}", "seconds": f"{middle:.2f} ({low:.2f}–{high:.2f})"}
        row |= {name: f"{of_size[name].median():.2f}" for name in ("scan s", "split s")}
        row["µs a file"] = f"{middle / n * 1e6:.0f}"
        row |= {name: f"{of_size[name].median():.0f}" for name in ("MB at start", "MB at peak")}
        if n >= 100_000:
            reached = middle < SECONDS_GOAL and of_size["MB at peak"].median() < MEGABYTES_GOAL
            goal = f"< {SECONDS_GOAL:.0f} s, < {MEGABYTES_GOAL:.0f} MB"
            row["goal"] = f"{goal}: {'reached' if reached else 'missed'}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def growth(runs: pd.DataFrame) -> float:
    """Return the power of the number of files that the seconds grow with between the two largest folders."""
    total = runs.assign(total=runs["scan s"] + runs["split s"]).groupby("files")["total"].median()
    (few, fast), (many, slow) = total.sort_index().iloc[-2:].items()
    return float(np.log(slow / fast) / np.log(many / few))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = make_parser(__doc__, repeats=3, cores=None)
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--per-group", type=int, default=1, help="files of one source, in a folder of theirs")
    options = parser.parse_args(arguments)
    jpegs, runs = draw_jpegs(4, 64), []
    with scratch() as root:
        for n in options.files:
            make_folder(root / str(n), n, jpegs, options.per_group)
        for _ in range(options.repeats):
            runs += [measure(root / str(n), options.clock) for n in options.files]
    table = pd.DataFrame(runs)
    show(f"Scan and split, {options.per_group} files a group", summed_up(table))
    if len(options.files) > 1:
        power = growth(table)
        print(
            f"\nBetween the two largest, the time grows with the files to the power of {power:.2f} ({verdict(power, EXPONENT_GOAL, True)})."
        )
    show_machine(options, os.cpu_count() or 1, ("dfdlib", "numpy", "pandas"))


if __name__ == "__main__":
    main()
