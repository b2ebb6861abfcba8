"""Parquet files and WebDataset tars: their images are the bytes they hold, with what is said of them."""

import io
import json
import os
import subprocess
import sys
import tarfile
import time

import cv2
import numpy as np
import pytest

from dfdlib import DfdError
from dfdlib.data.manifest import files_of
from dfdlib.data.scan import has_videos, open_data, open_raw, scan_images
from dfdlib.data.shards import find_shards


def encoded(seed, suffix=".png"):
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.fixture
def parquet(tmp_path):
    """Return a function that writes a table as the library `datasets` does, with the names of its classes."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def write(name, n=12, start=0, classes=None, **columns):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images = [{"bytes": encoded(start + i), "path": None} for i in range(n)]
        table = pa.table({"image": images, **columns})
        features = {key: {"names": names, "_type": "ClassLabel"} for key, names in (classes or {}).items()}
        said = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(table.replace_schema_metadata(said), path, row_group_size=5)
        return tmp_path / "set"

    return write


def test_rows_of_tables_become_files_of_the_same_bytes(parquet):
    names = {"label": ["real", "fake"], "generator": ["Real", "ProGAN", "SD14"]}
    columns = {"label": [0, 1, 1] * 4, "generator": [0, 1, 2] * 4}
    parquet("data/train-00000-of-00002.parquet", classes=names, **columns)
    parquet("data/train-00001-of-00002.parquet", start=12, classes=names, **columns)
    root = parquet("data/validation-00000-of-00001.parquet", start=24, classes=names, **columns)
    manifest = open_raw(root)
    assert manifest["split"].value_counts().to_dict() == {"train": 24, "val": 12}
    assert manifest["label"].value_counts().to_dict() == {"fake": 24, "real": 12}
    assert set(manifest.loc[manifest["label"] == "fake", "generator"]) == {"ProGAN", "SD14"}
    assert manifest.loc[manifest["label"] == "real", "generator"].isna().all()
    contents = [file.read_bytes() for file in files_of(manifest)]
    assert contents == [encoded(i) for i in range(36)]
    before = [file.stat().st_mtime_ns for file in files_of(manifest)]
    assert open_raw(root).equals(manifest)
    assert [file.stat().st_mtime_ns for file in files_of(manifest)] == before
    assert not has_videos(root)
    assert open_data(root, videos=True)["split"].isin(["train", "val"]).all()


def test_words_that_stand_in_for_labels(parquet, tmp_path):
    root = parquet("a.parquet", is_fake=[True, False] * 6)
    assert open_raw(root)["label"].tolist() == ["fake", "real"] * 6
    (root / "a.parquet").unlink()
    parquet("train-0.parquet", label=["real", "FAKE"] * 6, model=[None, "flux"] * 6, category=["cat"] * 12)
    manifest = open_raw(root)
    assert manifest["label"].tolist() == ["real", "fake"] * 6
    assert manifest["generator"].dropna().tolist() == ["flux"] * 6
    assert set(manifest["category"]) == {"cat"}
    assert manifest["split"].isna().all(), "all of it is called train: it is not split"
    (root / "train-0.parquet").unlink()
    parquet("fake/x.parquet")
    parquet("real/x.parquet", start=20)
    assert open_raw(root)["label"].value_counts().to_dict() == {"fake": 12, "real": 12}
    assert find_shards(tmp_path / "set") == [root / "fake/x.parquet", root / "real/x.parquet"]


def test_numbers_without_names_need_the_users_word(parquet):
    root = parquet("x.parquet", label=[0, 1, 2] * 4)
    with pytest.raises(DfdError, match=r"does not tell real from fake \(found: 0, 1, 2\).*pass labels="):
        open_raw(root)
    manifest = open_raw(root, {"0": "real", "1": "fake", "2": "fake"})
    assert manifest["label"].tolist() == ["real", "fake", "fake"] * 4
    assert manifest["generator"].dropna().tolist() == ["1", "2"] * 4
    assert len(scan_images(root, require_labels=False)) == 12


def test_fakes_alone_are_trained_on_beside_photographs(parquet, write_images):
    root = parquet("validation-0.parquet", generator=["ProGAN", "FLUX"] * 6, file_id=list("abcdefghijkl"))
    with pytest.raises(DfdError, match="set holds fake images alone; pass a data set of others too"):
        open_data(root)
    photos = write_images([f"photos/real/{i}.png" for i in range(12)]) / "photos"
    (root / "validation-0.parquet").rename(root / "images-0.parquet")
    both = open_data([root, photos])
    assert both.groupby("source")["label"].unique().map(list).to_dict() == {
        "photos": ["real"],
        "set": ["fake"],
    }
    assert set(both["split"]) == {"train", "val", "test"}


def write_tar(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in samples:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_samples_of_tars(tmp_path):
    samples = []
    for i in range(6):
        about = {"label": ["real", "fake"][i % 2], "generator": [None, "sdxl"][i % 2], "prompt": "a dog"}
        samples += [(f"{i:04d}.jpg", encoded(i, ".jpg")), (f"{i:04d}.json", json.dumps(about).encode())]
    write_tar(tmp_path / "train-000.tar", samples)
    write_tar(
        tmp_path / "test-000.tar",
        [
            (f"../{word}/{word}.{kind}", data)
            for word, kind, data in (
                ("REAL", "png", encoded(10)),
                ("REAL", "txt", b"x"),
                ("fake", "png", encoded(11)),
            )
        ],
    )
    manifest = open_raw(tmp_path)
    assert manifest["split"].tolist() == ["test"] * 2 + ["train"] * 6
    assert manifest["label"].tolist() == ["real", "fake"] * 4
    assert manifest["generator"].dropna().tolist() == ["sdxl"] * 3
    expected = [encoded(10), encoded(11), *(encoded(i, ".jpg") for i in range(6))]
    assert [file.read_bytes() for file in files_of(manifest)] == expected
    assert all(file.resolve().is_relative_to(tmp_path) for file in files_of(manifest))


def test_classes_of_tars_are_numbers_that_the_user_names(tmp_path):
    write_tar(
        tmp_path / "x.tar", [("a.png", encoded(0)), ("a.cls", b"0"), ("b.cls", b"1\n"), ("b.png", encoded(1))]
    )
    assert open_raw(tmp_path, {"0": "fake", "1": "real"})["label"].tolist() == ["fake", "real"]


def test_shards_that_are_broken_or_hold_no_image_are_named(tmp_path):
    whole = write_tar(tmp_path / "fake.tar", [("a.png", encoded(0)), ("b.png", encoded(1))]).read_bytes()
    (tmp_path / "fake.tar").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DfdError, match=r"fake\.tar cannot be read .*fetch it again"):
        open_raw(tmp_path)
    write_tar(tmp_path / "fake.tar", [("readme.txt", b"no")])
    with pytest.raises(DfdError, match=r"fake\.tar holds no image"):
        open_raw(tmp_path)
    assert not list((tmp_path / ".unpacked").glob("*")), "nothing half done stays"


def test_images_beside_shards_are_the_data(write_images):
    root = write_images(["real/a.png", "fake/b.png"])
    write_tar(root / "more.tar", [("c.png", encoded(0))])
    assert len(open_raw(root)) == 2


def test_a_shard_that_has_changed_is_unpacked_again(tmp_path):
    write_tar(tmp_path / "real.tar", [("a.png", encoded(0))])
    write_tar(tmp_path / "fake.tar", [("b.png", encoded(1)), ("c.png", encoded(2))])
    assert len(open_raw(tmp_path)) == 3
    write_tar(tmp_path / "fake.tar", [("b.png", encoded(3))])
    os.utime(tmp_path / "fake.tar", (time.time() + 5,) * 2)  # where clocks are coarse
    (file,) = files_of(open_raw(tmp_path).query("label == 'fake'"))
    assert file.read_bytes() == encoded(3)
    made = file.stat().st_ino
    open_raw(tmp_path)
    assert file.stat().st_ino == made, "once"


def test_two_kinds_of_shards_of_one_name_do_not_mix(parquet):
    root = parquet("x.parquet", n=2, label=["real", "fake"])
    write_tar(root / "x.tar", [("a.png", encoded(5)), ("a.cls", b"fake")])
    assert open_raw(root)["label"].value_counts().to_dict() == {"fake": 2, "real": 1}


def test_a_killed_unpacking_goes_on(tmp_path):
    for word in ("fake", "real"):
        write_tar(tmp_path / f"{word}.tar", [(f"{i}.png", encoded(i)) for i in range(20)])
    code = (
        "import time\nfrom pathlib import Path\nfrom dfdlib.data import scan, shards\nread = shards._tar\n"
        "def slow(shard):\n    for n, row in enumerate(read(shard)):\n"
        "        if shard.stem == 'real' and n == 10:\n            time.sleep(60)\n        yield row\n"
        f"shards._tar = slow\nscan.open_raw({str(tmp_path)!r})"
    )
    run = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 30
    while len(list(tmp_path.glob(".unpacked/.*-real.tar/*.png"))) < 10 and time.monotonic() < until:
        time.sleep(0.02)
    run.kill()
    assert run.wait() != 0
    first = tmp_path / ".unpacked" / "fake.tar" / "000000.png"
    made = first.stat().st_mtime_ns
    manifest = open_raw(tmp_path)
    assert manifest["label"].value_counts().to_dict() == {"fake": 20, "real": 20}
    assert first.stat().st_mtime_ns == made
    assert sorted(p.name for p in (tmp_path / ".unpacked").iterdir()) == ["fake.tar", "real.tar"]
