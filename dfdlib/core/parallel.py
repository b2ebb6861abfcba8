"""Work done by threads ahead of its use."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def worker_count(workers: int) -> int:
    """Return the number of workers that was asked for, where 0 means one per core."""
    return workers or os.cpu_count() or 1


def read_ahead(
    function: Callable[[T], R], items: Iterable[T], workers: int = 0, ahead: int = 64
) -> Iterator[R]:
    """Yield `function(item)` for each item, in order, while threads work on the next ones.

    `joblib.Parallel(return_as="generator")` is no replacement: it starts the next item when one is done,
    not when one is used, so that all results pile up in memory behind a slow consumer.

    Args:
        function: What is done with an item. Its errors are raised where its result would have been.
        items: Taken as they are needed.
        workers: Threads; 0 for one per core.
        ahead: Items that are worked on, or whose results wait, at any time; it bounds the memory.
    """
    pool = ThreadPoolExecutor(worker_count(workers))
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
