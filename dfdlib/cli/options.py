"""What the options of several commands share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import tyro

from dfdlib.core.errors import DfdError

Paths = Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATH [PATH ...]", help_behavior_hint="(required)")]
"""Files, folders and patterns."""

Repeated = tyro.conf.UseAppendAction[tuple[str, ...]]
"""Values of an option that is repeated for each: `--model a --model b`."""

Names = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[NAME ...]")]
"""Values that follow one option: `--tta flip crop`. Empty for a bare `--tta`; None where there is none."""


class UsageError(DfdError):
    """A command line that cannot be meant: exit code 2."""


def require(lists: Mapping[str, Sequence[str]]) -> None:
    """Refuse an empty list, which tyro accepts. Raises `UsageError` that says what is missing."""
    for name, values in lists.items():
        if not values:
            raise UsageError(f"{name} is required; see --help.")
