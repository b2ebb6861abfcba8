"""Files that are either whole or not there: every result is written through these functions."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import DfdError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place on success and vanishes on failure.

    Raises:
        DfdError: The file cannot be written (disk full, read-only folder, no permission); one that was
            there before is untouched.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=f"-{path.name[-60:]}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        kept = "; the file that was there is untouched" if path.exists() else ""
        raise DfdError(f"cannot write {path}: {error.strerror or error}{kept}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write text as UTF-8. Raises `DfdError`, see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table without its index. Raises `DfdError`, see `atomic_path`."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON. Raises `DfdError`, see `atomic_path`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
