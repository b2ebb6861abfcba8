"""Results as a person reads them on a terminal; programs get JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_FOR_PROGRAMS = ("decision", "probability")
"""What the verdict and `p_fake` say better."""
_COLUMNS = ("file", "overlay", "verdict", "p_fake", "category", "error")
_ROWS = 20


def show(result: Any) -> None:
    """Print what a command returns as tables; of the path of a CSV its first rows, then the path."""
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from dfdlib.evaluation.tables import as_text

    frames = _frames([result] if isinstance(result, dict) else result)
    if isinstance(result, str):
        table = pd.read_csv(result).astype(object).fillna("")
        frames = [table.head(_ROWS).filter(_COLUMNS).T.reset_index().T] if "p_fake" in table else []
    for frame in frames:
        shown = Table(show_header=False, box=None)
        for row in frame.to_numpy():
            shown.add_row(*map(as_text, row))
        Console().print(shown)
    if isinstance(result, str):
        print(f"… and {len(table) - _ROWS:,} more in\n{result}" if len(table) > _ROWS else result)


def _frames(entries: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    """Yield a table of entries side by side, a row for each value, then those of the entries nested in the first."""
    import pandas as pd

    yield pd.DataFrame(map(_lines, entries)).T.reset_index().fillna("–")
    for within in filter(None, map(_several, entries[0].values())):
        yield from _frames(within)


def _lines(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the plain values of an entry as texts by their titles, each with its interval."""
    from dfdlib.evaluation.tables import as_texts

    plain = {key: value for key, value in entry.items() if key not in _FOR_PROGRAMS and not _several(value)}
    return as_texts(plain)


def _several(value: Any) -> list[dict[str, Any]]:
    """Return the entries nested in a value, by name or in a list; none where it is plain."""
    if isinstance(value, dict):
        return [{"": name, **one} for name, one in value.items()]
    return value if isinstance(value, list) and value and isinstance(value[0], dict) else []
