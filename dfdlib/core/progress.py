"""Progress of long work: a bar on a terminal, and a line every ten seconds anywhere else."""

from __future__ import annotations

import io
import sys
from typing import Any

from tqdm import tqdm

_SECONDS = 10


class Progress(tqdm):
    """tqdm, but in logs, notebooks and pipes it writes whole lines, such as `decoding images, 40 %, about 1 min left`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take tqdm's arguments."""
        self._lines = not sys.stderr.isatty()
        if self._lines:
            kwargs |= {
                "mininterval": _SECONDS,
                "miniters": 1,
                "file": io.StringIO(),
            }  # what it prints goes nowhere
        super().__init__(*args, **kwargs)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show how far the work is; nothing yet at its start, as a line says little then."""
        if not self._lines:
            return super().display(msg, pos)
        if self.n > self.initial and self.n != self.total:
            print(self.line(), file=sys.stderr, flush=True)
        return True

    def line(self) -> str:
        """Return how far the work is, and how long the rest will take at this pace."""
        facts = self.format_dict
        done, passed = self.n - self.initial, facts["elapsed"]
        title = self.desc.removesuffix(": ") or "working"
        if not self.total:
            return f"{title}, {self.n:,} {self.unit}s in {_duration(passed)}"
        rest = passed * (self.total - self.n) / done
        parts = [title, f"{100 * self.n / self.total:.0f} %", self.postfix, f"about {_duration(rest)} left"]
        return ", ".join(filter(None, parts))


def _duration(seconds: float) -> str:
    """Say a time in whole seconds or minutes."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"
