"""The audit finds what it is shown, and nothing where there is nothing."""

import cv2
import pandas as pd
import pytest
from smooth_pictures import picture, save

from dfdlib import DfdError
from dfdlib.data.scan import scan_images
from dfdlib.evaluation.audit import LeakProbe, audit_images


@pytest.fixture
def folder(tmp_path):
    for i in range(40):
        save(tmp_path, f"{'train' if i < 30 else 'val'}/{('real', 'fake')[i % 2]}/{i}.jpg", picture(i))
    return tmp_path


def test_a_clean_folder_is_clean(folder):
    found = audit_images(scan_images(folder))
    assert found.pairs.empty
    assert found.unreadable.empty
    assert found.probe.low < 0.55
    assert "No leak found" in found.verdicts()[-1]
    assert list(found.manifest["group"]) == list(scan_images(folder)["group"])


def test_a_probe_better_than_chance_is_not_called_chance():
    facts = pd.DataFrame({"fact": ["bytes"], "auc": [0.54]})
    assert LeakProbe(0.55, 0.49, 0.57, facts).verdict().startswith("No leak found")
    assert LeakProbe(0.55, 0.53, 0.57, facts).verdict().startswith("A weak leak at most")


def test_exact_and_near_duplicates_are_found_and_grouped(folder):
    save(folder, "val/real/exact.png", cv2.imread(str(folder / "train/real/2.jpg"))[..., ::-1])
    save(
        folder,
        "val/fake/small.jpg",
        cv2.resize(picture(3), (48, 48), interpolation=cv2.INTER_AREA),
        quality=40,
    )
    found = audit_images(scan_images(folder))
    pairs = {frozenset((row.first, row.second)): row for row in found.pairs.itertuples()}
    assert set(pairs) == {
        frozenset(("train/real/2.jpg", "val/real/exact.png")),
        frozenset(("train/fake/3.jpg", "val/fake/small.jpg")),
    }
    assert sorted(row.kind for row in pairs.values()) == ["exact", "near"]
    assert found.pairs["crosses_splits"].all()
    groups = found.manifest.set_index("path")["group"]
    assert groups["train/real/2.jpg"] == groups["val/real/exact.png"]
    assert "2 of these pairs crossed the splits" in " ".join(found.verdicts())


def test_the_same_pixels_under_both_labels_are_called_out(folder):
    save(folder, "train/fake/copy.png", cv2.imread(str(folder / "train/real/2.jpg"))[..., ::-1])
    (text,) = [text for text in audit_images(scan_images(folder)).verdicts() if "one label is wrong" in text]
    assert text.startswith("1 exact")


def test_pairs_within_a_group_are_no_findings(demo):
    found = audit_images(demo.iloc[:60].reset_index(drop=True))
    assert (found.manifest.groupby("group")["label"].nunique() == 2).all()
    assert not found.pairs["first"].str[-15:].eq(found.pairs["second"].str[-15:]).any()


def test_compression_that_tells_the_label_is_a_strong_leak(tmp_path):
    for i in range(60):
        save(tmp_path, f"{('real', 'fake')[i % 2]}/{i}.jpg", picture(i), quality=95 - 25 * (i % 2))
    found = audit_images(scan_images(tmp_path))
    assert found.probe.low > 0.9
    assert "Strong leak" in found.verdicts()[-1]
    assert "jpeg_quality" in found.verdicts()[-1]


def test_broken_files_are_listed(folder):
    (folder / "train/real/broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    found = audit_images(scan_images(folder))
    assert list(found.unreadable["path"]) == ["train/real/broken.jpg"]
    assert "1 of 41 files cannot be read" in found.verdicts()[0]
    assert len(found.facts) == len(found.manifest) == 40


def test_broken_files_alone_are_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(DfdError, match="none of the 1 images can be read"):
        audit_images(scan_images(tmp_path, require_labels=False))
