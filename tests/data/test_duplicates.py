"""Duplicates: the same picture found under other names, chains of them, and the facts of a file."""

import numpy as np
import pandas as pd
import pytest
from smooth_pictures import picture, save

from dfdlib.data.duplicates import _near, find_duplicates, image_facts, regroup
from dfdlib.data.scan import scan_images


def test_the_jpeg_quality_is_estimated(tmp_path):
    for quality in (30, 60, 75, 95):
        save(tmp_path, f"{quality}.jpg", picture(0), quality)
    save(tmp_path, "none.png", picture(1))
    facts, _ = image_facts(scan_images(tmp_path, require_labels=False))
    found = facts.set_index("path")["jpeg_quality"]
    for quality in (30, 60, 75, 95):
        assert found[f"{quality}.jpg"] == pytest.approx(quality, abs=1)
    assert np.isnan(found["none.png"])


def test_facts_are_those_of_the_file(tmp_path):
    save(tmp_path, "a.png", np.full((20, 30, 3), (10, 20, 60), np.uint8))
    (row,) = image_facts(scan_images(tmp_path, require_labels=False))[0].itertuples()
    assert (row.width, row.height, row.format) == (30, 20, "PNG")
    assert (row.red, row.green, row.blue, row.brightness) == pytest.approx((10, 20, 60, 30))
    assert row.bytes == (tmp_path / "a.png").stat().st_size


def test_chains_of_pairs_make_one_group():
    manifest = pd.DataFrame({"path": list("abcde"), "group": ["1", "2", "3", "4", "5"]})
    pairs = pd.DataFrame({"first": ["a", "c"], "second": ["c", "e"]})
    assert list(regroup(manifest, pairs)["group"]) == ["1", "2", "1", "4", "1"]


def test_near_hashes_are_those_of_a_plain_search():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 300, dtype=np.uint64)
    for i in range(60):  # near ones: some bits flipped
        bits = rng.choice(64, rng.integers(0, 7), replace=False)
        hashes[200 + i] = hashes[i] ^ np.uint64(sum(1 << int(bit) for bit in bits))
    hashes = np.unique(hashes)
    plain = {
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if bin(int(hashes[i] ^ hashes[j])).count("1") <= 3
    }
    assert {tuple(pair) for pair in _near(hashes, 3).tolist()} == plain
    assert len(plain) > 10


def test_many_equal_hashes_make_a_chain():
    n = 2000
    manifest = pd.DataFrame({"path": [str(i) for i in range(n)], "group": [str(i) for i in range(n)]})
    manifest["label"], manifest["split"] = "real", None
    facts = pd.DataFrame({"hash": np.zeros(n, np.uint64), "digest": [str(i % 3) for i in range(n)]})
    pairs = find_duplicates(manifest, facts)
    assert len(pairs) == n - 1
    assert regroup(manifest, pairs)["group"].nunique() == 1
