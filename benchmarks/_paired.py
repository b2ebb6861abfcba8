"""Time two or more ways of doing the same thing in turns, so that what the machine does besides hits all alike.

A benchmark builds a table {name: callable}, has `in_turns` measure it and prints `as_table`. Ratios are taken
within a repeat, between runs that lie seconds apart, and summed up by their median and quartiles.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from torch import Tensor

    from dfdlib.models.detector import Detector


def _processor_time() -> float:
    """Return the seconds that all threads of this process, and its children that ended, have computed."""
    used = os.times()
    return time.process_time() + used.children_user + used.children_system


_CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": _processor_time}


def make_parser(description: str | None, repeats: int = 7, cores: int | None = 1) -> argparse.ArgumentParser:
    """Return a parser that knows `--repeats`, `--clock` and, unless `cores` is None, `--cores`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=repeats, help="runs of each way, in turns")
    if cores is not None:
        parser.add_argument("--cores", type=int, default=cores, help="cores to use; 0 for all")
    parser.add_argument(
        "--clock", choices=list(_CLOCKS), default="wall", help="cpu suits a machine that is busy otherwise"
    )
    return parser


def use_cores(n: int) -> int:
    """Keep this process to `n` cores, 0 for all; return how many are left.

    Call it before PyTorch, OpenCV and ONNX Runtime start their threads. Where the system cannot pin a
    process, PyTorch and OpenCV alone are limited.
    """
    import cv2
    import torch

    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, available[-n:])
        n = len(os.sched_getaffinity(0))
    n = n or os.cpu_count() or 1
    torch.set_num_threads(n)
    cv2.setNumThreads(n)
    return n


def in_turns(
    ways: Mapping[str, Callable[[], object]], repeats: int, clock: str = "wall", warm_up: int = 1
) -> pd.DataFrame:
    """Run every way once a repeat and time it.

    Args:
        ways: What to time, by name. The order rotates, so that none always follows the same other one.
        repeats: Repeats that count, at least 1.
        clock: `wall`, or `cpu` for the processor time of all threads of this process.
        warm_up: Repeats before them that do not.

    Returns:
        Seconds, float64 [repeats, ways].

    Raises:
        ValueError: No repeat.
    """
    if repeats < 1:
        raise ValueError(f"--repeats must be at least 1, not {repeats}.")
    names, now, rows = list(ways), _CLOCKS[clock], []
    gc.collect()
    gc.freeze()  # what was there before costs no later collection
    try:
        for repeat in range(-warm_up, repeats):
            first = repeat % len(names)
            row = {}
            for name in names[first:] + names[:first]:
                gc.collect()
                started = now()
                ways[name]()
                row[name] = now() - started
            rows.append(row)
    finally:
        gc.unfreeze()
    return pd.DataFrame(rows[warm_up:], columns=names)


def ratios(seconds: pd.DataFrame, way: str, base: str) -> np.ndarray:
    """Return how many times faster `way` is than `base`: 25 %, 50 % and 75 % quantile over the repeats."""
    return np.quantile(seconds[base] / seconds[way], (0.25, 0.5, 0.75))


def as_table(
    seconds: pd.DataFrame, base: str, n: int = 1, unit: str = "", goals: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Sum up what `in_turns` measured.

    Args:
        seconds: See `in_turns`.
        base: The way that the others are compared with.
        n: Things that one run deals with; 1 gives seconds alone.
        unit: What they are called, e.g. `images`.
        goals: The least ratio wanted, by way.

    Returns:
        A row a way: median seconds (or things a second), `times faster` (median and quartiles) and, where
        there are goals, `goal`, which says whether the median reaches it.
    """
    rows = []
    for way in seconds:
        low, middle, high = ratios(seconds, way, base)
        median = float(seconds[way].median())
        row = {"way": way, "seconds": f"{median:.3g}"}
        if n > 1:
            row[f"{unit} / s"] = f"{n / median:,.3g}" if n / median < 1000 else f"{n / median:,.0f}"
        row["times faster"] = "1" if way == base else f"{middle:.2f} ({low:.2f}–{high:.2f})"
        if goals:
            row["goal"] = verdict(middle, goals[way]) if way in goals else ""
        rows.append(row)
    return pd.DataFrame(rows)


def verdict(value: float, goal: float, at_most: bool = False) -> str:
    """Return the goal, and whether a value reaches it."""
    reached = value <= goal if at_most else value >= goal
    return f"{'≤' if at_most else '≥'} {goal:g}: {'reached' if reached else 'missed'}"


def as_markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, without its index."""
    lines = [list(map(str, table.columns)), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(title: str, table: pd.DataFrame) -> None:
    """Print a table under its title."""
    print(f"\n**{title}**\n\n{as_markdown(table)}")


def show_machine(options: argparse.Namespace, cores: int, packages: tuple[str, ...]) -> None:
    """Print what the numbers hold for: clock and machine."""
    turns = f"Median and quartiles of {options.repeats} repeats in turns ({options.clock} time)"
    print(f"\n{turns}; {machine(cores, packages)}.")


def machine(cores: int, packages: tuple[str, ...]) -> str:
    """Return processor, cores, load, system and versions."""
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{cores} of {os.cpu_count()} cores of {_processor()}{load}; {platform.system()}, "
        f"Python {platform.python_version()}, {', '.join(found)}"
    )


def _processor() -> str:
    """Return the name of the processor, and what of its abilities decides the speed of networks."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{facts.get('model name', platform.machine())} ({', '.join(known) or platform.machine()})"


def draw_jpegs(n: int, size: int, n_scenes: int = 6) -> list[bytes]:
    """Draw photographs of `size` pixels a side as JPEG files, at the qualities of the demo set.

    A scene takes up to a second to render, so `n_scenes` of them are photographed, each by ever new cameras.
    """
    from dfdlib.demo.scenery import (
        CATEGORIES,
        JPEG_QUALITIES,
        draw_camera,
        encode_jpeg,
        render_scene,
        take_photo,
    )

    rng = np.random.default_rng(0)
    scenes = [render_scene(CATEGORIES[i % len(CATEGORIES)], rng, size) for i in range(min(n, n_scenes))]
    return [
        encode_jpeg(
            take_photo(scenes[i % len(scenes)].radiance, draw_camera(rng), size, rng),
            int(rng.integers(*JPEG_QUALITIES)),
        )
        for i in range(n)
    ]


def write_folder(root: Path, files: list[bytes]) -> None:
    """Write JPEG files to `real/` and `fake/` below a folder, in turns."""
    for i, data in enumerate(files):
        path = root / ("real", "fake")[i % 2] / f"{i:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a temporary folder that also takes dfdlib's cache; both are gone afterwards."""
    before = os.environ.get("DFD_CACHE_DIR")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["DFD_CACHE_DIR"] = str(Path(folder) / "cache")
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["DFD_CACHE_DIR"]
            else:
                os.environ["DFD_CACHE_DIR"] = before


def random_detector(backbone: str, images: Tensor) -> Detector:
    """Build a detector of random weights that tells images apart, so that a comparison of answers says something.

    Without it a deep network answers all images alike: the statistics of its batch normalisation fit no data.

    Args:
        backbone: See `detector.create_detector`.
        images: uint8 [B, 3, S, S], B at least 2, whose statistics the normalisation takes.
    """
    import torch

    from dfdlib import create_detector

    detector = create_detector(backbone, images.shape[-1], pretrained="none")
    for module in detector.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics of these images alone
    with torch.no_grad():
        detector.network.train()(images)
    detector.network.eval()
    return detector


def draw_pixels(n: int, size: int) -> Tensor:
    """Draw scenes: uint8 [n, 3, size, size], channels-last in memory."""
    import torch

    from dfdlib.demo.scenery import CATEGORIES, render_scene

    rng = np.random.default_rng(0)
    scenes = [render_scene(CATEGORIES[i % len(CATEGORIES)], rng, size).radiance for i in range(n)]
    return torch.from_numpy((np.stack(scenes) * 255).astype(np.uint8)).permute(0, 3, 1, 2)
