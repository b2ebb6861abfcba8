"""Progress outside a terminal: whole lines, now and then."""

import re
import time

from dfdlib.core import progress
from dfdlib.core.progress import Progress


def test_lines_say_how_far_it_is_and_how_long_it_takes(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", 0.05)
    with Progress(total=10, desc="epoch 1/2") as bar:
        for i in range(10):
            time.sleep(0.02)
            bar.set_postfix_str(f"loss {1 / (i + 1):.2f}", refresh=False)
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 6
    assert all(re.fullmatch(r"epoch 1/2, \d+ %, loss [\d.]+, about 1 s left", line) for line in lines)


def test_quick_work_says_nothing(capsys):
    assert list(Progress(range(5), "decoding images")) == list(range(5))
    assert capsys.readouterr().err == ""


def test_work_of_unknown_length_counts(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    for _ in Progress(iter(range(3)), "scanning", unit="file"):
        time.sleep(0.01)
    assert "scanning, 2 files in 1 s" in capsys.readouterr().err
