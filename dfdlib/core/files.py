"""Files that are either whole or not there: every result is written through these functions."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfdlib.core import paths
from dfdlib.core.errors import DfdError

# Linux allows file names that are no text; Python holds them as lone surrogates, which UTF-8 refuses.
ODD_NAMES = "backslashreplace"
"""How they are written into text."""
# Where pyarrow is installed, pandas 3 keeps text in its arrays, which refuse such names too.
pd.set_option("mode.string_storage", "python")


class WriteError(DfdError):
    """A file or folder that cannot be written; where a variable moves it, the message says so."""


def _beside(path: Path) -> Path:
    """Return a new hidden name in the same folder; the ending stays, for writers that go by it."""
    return path.with_name(f".{secrets.token_hex(4)}-{path.name[-50:]}")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place on success and vanishes on failure.

    Raises:
        WriteError: The file cannot be written (disk full, read-only folder, no permission); one that was
            there before is untouched.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)  # unlike tempfile's, readable for whom the umask says
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        kept = "; the file that was there is untouched" if os.access(path, os.F_OK) else ""
        raise WriteError(
            f"cannot write {path}: {error.strerror or error}{kept}.{paths.remedy(path)}"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place on success and vanishes on failure.

    Raises:
        WriteError: The folder cannot be written, or `path` holds something already.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        about = f": {error.filename}" if error.filename and temporary.name not in str(error.filename) else ""
        raise WriteError(
            f"cannot write the folder {path}: {error.strerror or error}{about}.{paths.remedy(path)}"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def alone_in(folder: str | Path) -> Iterator[None]:
    """Hold a folder for one run; the hold ends with the process, however it ends.

    Raises:
        DfdError: Another run is at work there, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    file = Path(folder) / ".running.lock"
    lock = FileLock(file, timeout=0)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise DfdError(
            f"another run is writing into {folder}; wait for its end, or choose another out_dir."
        ) from None
    except OSError as error:
        raise WriteError(
            f"cannot write into {folder}: {error.strerror or error}; choose another out_dir.{paths.remedy(folder)}"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)  # while it is held: a later run makes its own
        lock.release()


def write_text(path: str | Path, text: str) -> None:
    """Write text as UTF-8, what it cannot hold as `\\udc…`. Raises `DfdError`, see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ODD_NAMES)


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table without its index. Raises `DfdError`, see `atomic_path`."""
    with atomic_path(path) as temporary:
        options = {"index": False, "encoding": "utf-8", "errors": ODD_NAMES, "lineterminator": "\n"}
        table.to_csv(temporary, **options)
        if b"\r" in temporary.read_bytes():  # it would end a row, and pandas sets no quotes for it alone
            table.to_csv(temporary, **options, quoting=csv.QUOTE_NONNUMERIC)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON. Raises `DfdError`, see `atomic_path`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def file_sample(path: Path, n_bytes: int) -> bytes | None:
    """Return the size of a file with its first and last `n_bytes`; None where there is no such file."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(n_bytes)
            file.seek(max(0, size - n_bytes))
            return f"{size}".encode() + start + file.read(n_bytes)
    except (OSError, ValueError):  # ValueError: no name that a file can have
        return None


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold: what is missing or not finite becomes null, settings a dict."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    return value if isinstance(value, (str, int)) else str(value)


def safe_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet takes for formulas: those get an apostrophe in front."""
    texts = table.select_dtypes(exclude="number").columns
    escaped = table.copy()
    for name in texts:
        escaped[name] = [
            f"'{text}" if isinstance(text, str) and text.startswith(_FORMULA_STARTS) else text
            for text in table[name]
        ]
    return escaped
