"""Atomic files: whole or not there, and the old one survives whatever goes wrong."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dfdlib import DfdError
from dfdlib.core.files import atomic_path, plain, write_csv, write_json, write_text
from dfdlib.training.settings import TrainConfig


def test_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "old")
    write_text(path, "new ü")
    assert path.read_text(encoding="utf-8") == "new ü"
    assert list(path.parent.iterdir()) == [path]


def test_keeps_the_old_file_when_the_writer_fails(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt):
        _write_half(path, KeyboardInterrupt())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_that_says_what_is_left(tmp_path):
    path = tmp_path / "a.txt"
    full = OSError(28, "No space left on device")
    with pytest.raises(DfdError, match=r"cannot write .*a\.txt: No space left on device\.$"):
        _write_half(path, full)
    assert not list(tmp_path.iterdir())
    write_text(path, "old")
    with pytest.raises(DfdError, match="the file that was there is untouched"):
        _write_half(path, full)
    assert path.read_text() == "old"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DfdError, match="cannot write"):
        write_text(tmp_path / "file" / "a.txt", "")


def test_the_target_may_not_be_a_folder(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(DfdError, match="cannot write"):
        write_text(tmp_path / "a.txt", "")
    assert len(list(tmp_path.iterdir())) == 1


def test_the_temporary_file_keeps_the_ending_and_is_beside_the_target(tmp_path):
    with atomic_path(tmp_path / ("long" * 60 + ".npy")) as temporary:
        assert temporary.suffix == ".npy"
        assert temporary.parent == tmp_path
        np.save(temporary, np.arange(3))


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_csv_comes_back_without_an_index(tmp_path):
    table = pd.DataFrame({"path": ["a, b.png", 'c"d.png'], "p_fake": [0.25, 1.0]}, index=[7, 3])
    write_csv(table, tmp_path / "a.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), table.reset_index(drop=True))


def test_file_names_that_are_no_text_can_be_written(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    write_csv(pd.DataFrame({"path": [name]}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "path\ncaf\\udce9.png\n"
    write_json(tmp_path / "a.json", {"path": name})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"path": name}


def test_json_refuses_what_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"auc": float("nan")})
    assert not (tmp_path / "a.json").exists()


def _write_half(path, error):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


def test_plain_values():
    odd = {
        "nan": float("nan"),
        "infinite": np.float32("-inf"),
        "missing": [pd.NA, pd.NaT, None],
        "numbers": (np.int64(3), np.float64(0.5), np.bool_(True)),
        "array": np.array([1.0, np.nan]),
        "path": Path("a/b"),
        3: torch.float32,
    }
    assert plain(odd) == {
        "nan": None,
        "infinite": None,
        "missing": [None, None, None],
        "numbers": [3, 0.5, True],
        "array": [1.0, None],
        "path": "a/b",
        "3": "torch.float32",
    }
    assert plain(TrainConfig(seed=7))["seed"] == 7
