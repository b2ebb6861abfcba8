"""The exceptions that dfdlib raises for bad input."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DfdError(Exception):
    """Bad input or a run that cannot continue: one sentence that names the file or setting, and the remedy.

    Notebooks show the sentence alone: a reader who misspelt a folder needs no traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """IPython's hook for the text shown in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def did_you_mean(name: str, known: Iterable[str], n: int = 3) -> str:
    """Return `"; did you mean `a` or `b`?"` for the known names nearest to `name`, or an empty string."""
    near = difflib.get_close_matches(str(name), list(known), n=n, cutoff=0.5)
    return f"; did you mean {' or '.join(f'`{k}`' for k in near)}?" if near else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> DfdError:
    """Return the error for a `name` that is none of the known ones; it suggests the nearest and lists them all."""
    known = list(known)
    hint = did_you_mean(name, known) or "."
    return DfdError(f"unknown {kind} `{name}`{hint} Known: {', '.join(known)}.")


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, at most 200 characters; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


class ImageError(DfdError):
    """An image that cannot be read; the message names the file and the reason."""


class UnknownFormatError(ImageError):
    """A file that is no image, or of a format that is not read."""


class TooLargeError(ImageError):
    """An image of more pixels than are allowed."""
