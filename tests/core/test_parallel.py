"""Reading ahead: in order, with bounded memory, and over when the caller is done."""

import os
import threading
import time
from itertools import count, islice

import pytest

from dfdlib.core.parallel import read_ahead, worker_count


def test_results_come_in_the_order_of_the_items():
    def slow_at_first(item):
        time.sleep(0.02 if item < 3 else 0)
        return item**2

    for workers in (0, 1, 4):
        assert list(read_ahead(slow_at_first, range(20), workers)) == [item**2 for item in range(20)]
    assert list(read_ahead(abs, [])) == []
    assert list(read_ahead(abs, [-1, -2], ahead=1)) == [1, 2]


def test_several_threads_work_at_once():
    both = threading.Barrier(2, timeout=10)
    assert len(list(read_ahead(lambda _: both.wait(), range(8), workers=2))) == 8


def test_a_slow_consumer_lets_few_results_wait():
    started = []

    def work(item):
        started.append(item)
        return item

    taken = 0
    for item in read_ahead(work, range(200), workers=4, ahead=8):
        taken += 1
        assert item == taken - 1
        if taken % 20 == 0:
            time.sleep(0.02)  # the threads could go through all of it meanwhile
        assert len(started) <= taken + 8
    assert taken == 200


def test_items_without_end_are_taken_as_needed():
    given = count()
    assert list(islice(read_ahead(abs, given, workers=2, ahead=4), 10)) == list(range(10))
    assert next(given) <= 15


def test_an_error_arrives_in_place_of_its_result():
    def fragile(item):
        if item == 5:
            raise ValueError("item five")
        return item

    got = []
    with pytest.raises(ValueError, match="item five"):
        got.extend(read_ahead(fragile, range(100), workers=3))
    assert got == [0, 1, 2, 3, 4]


def test_an_error_of_the_items_arrives_too():
    def items():
        yield 1
        raise OSError("the list of files ends here")

    with pytest.raises(OSError, match="ends here"):
        list(read_ahead(abs, items()))


def test_closing_early_ends_the_threads_and_drops_what_was_not_begun():
    before, done = set(threading.enumerate()), []

    def work(item):
        time.sleep(0.01)
        done.append(item)

    results = read_ahead(work, range(10_000), workers=2, ahead=1000)
    next(results)
    start = time.perf_counter()
    results.close()
    assert time.perf_counter() - start < 2
    assert len(done) < 20
    assert set(threading.enumerate()) <= before


def test_zero_workers_are_one_per_core():
    assert worker_count(0) == (os.cpu_count() or 1)
    assert worker_count(3) == 3
