"""What users report: kept whole under many writers and a kill, images only with consent."""

import hashlib
import multiprocessing
import os
import signal
import sqlite3
import time

import cv2
import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError
from dfdlib.data.dataset import ImageDataset
from dfdlib.serve.feedback import FeedbackStore
from dfdlib.training.finetune import with_feedback


def said(verdict, name="cnn", p_fake=0.9):
    return {"model_name": name, "label": "fake", "verdict": verdict, "p_fake": p_fake}


def png(value):
    image = np.full((24, 24, 3), value, np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def sha(data):
    return hashlib.sha256(data).hexdigest()


def test_accuracy_counts_verdicts_and_not_their_absence(tmp_path):
    store = FeedbackStore(tmp_path / "feedback.db")
    store.add("a", "fake", [said("fake"), said("real", "net")])
    store.add("b", "real", [said("fake"), said("can't tell", "net")])
    summary = FeedbackStore(tmp_path / "feedback.db").summary()
    assert summary["reports"] == 2
    assert summary["images"] == 0
    assert summary["models"]["cnn"] == {"n": 2, "right": 1, "cant_tell": 0, "accuracy": 0.5}
    assert summary["models"]["net"] == {"n": 1, "right": 0, "cant_tell": 1, "accuracy": 0.0}


def test_an_image_is_what_was_said_last(tmp_path):
    store = FeedbackStore(tmp_path / "feedback.db")
    store.add("a", "fake", [said("fake")])
    store.add("a", "real", [said("fake")])
    summary = store.summary()
    assert summary["reports"] == 1
    assert summary["models"]["cnn"]["right"] == 0


def test_a_file_of_an_older_version_is_read(tmp_path):
    file = tmp_path / "feedback.db"
    FeedbackStore(file)
    with sqlite3.connect(file) as connection:
        connection.execute("DROP INDEX one_per_image")
        insert = "INSERT INTO feedback (time, image_sha256, label, predictions) VALUES ('', 'a', ?, '[]')"
        connection.executemany(insert, [("fake",), ("real",)])
    assert FeedbackStore(file).summary()["reports"] == 1


def test_images_become_a_manifest(tmp_path):
    store = FeedbackStore(tmp_path / "feedback.db")
    one, two = png(1), png(2)
    store.add(sha(one), "fake", [], one)
    store.add(sha(two), "fake", [], two)
    store.add(sha(two), "real", [])
    store.add("without", "fake", [])
    manifest = store.save_images(tmp_path / "images")
    assert dict(zip(manifest["group"], manifest["label"], strict=True)) == {
        sha(one): "fake",
        sha(two): "real",
    }
    for row in manifest.itertuples():
        assert sha((tmp_path / "images" / row.path).read_bytes()) == row.group
    assert store.summary()["images"] == 2


def test_what_cannot_be_kept_is_refused_whole(tmp_path):
    store = FeedbackStore(tmp_path / "feedback.db", max_image_bytes=len(png(1)) + 10)
    store.add(sha(png(1)), "fake", [], png(1))
    with pytest.raises(DfdError, match="used up"):
        store.add(sha(png(2)), "fake", [], png(2))
    with pytest.raises(DfdError, match="'real' or 'fake'"):
        store.add("a", "perhaps", [])
    assert store.summary()["reports"] == 1
    with pytest.raises(DfdError, match="nothing to learn from"):
        FeedbackStore(tmp_path / "other.db").save_images(tmp_path / "images")


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "notes.db").write_text("this is no database, but long enough to be taken for one" * 20)
    with pytest.raises(DfdError, match=r"notes\.db"):
        FeedbackStore(tmp_path / "notes.db")


def _write(path, first, n):
    store = FeedbackStore(path)
    for i in range(first, first + n):
        store.add(str(i), "fake", [said("fake")], png(i % 256))


def test_many_writers_lose_nothing(tmp_path):
    path = tmp_path / "feedback.db"
    FeedbackStore(path)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(path, 100 * i, 20)) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert FeedbackStore(path).summary()["reports"] == 80


def test_a_killed_writer_leaves_it_whole(tmp_path):
    path = tmp_path / "feedback.db"
    FeedbackStore(path).add("first", "real", [])
    writer = multiprocessing.get_context("fork").Process(target=_write, args=(path, 0, 100_000))
    writer.start()
    time.sleep(0.4)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    store = FeedbackStore(path)
    before = store.summary()["reports"]
    assert before > 1
    store.add("last", "real", [])
    assert store.summary()["reports"] == before + 1
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_reported_images_join_the_training_images(tmp_path):
    rows = []
    for i in range(8):
        name = f"{i}.png"
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(png(10 * i))
        rows.append({"path": name, "label": ("real", "fake")[i % 2], "split": ("train", "val")[i // 6]})
    manifest = pd.DataFrame(rows).assign(category=None, generator=None, root=str(tmp_path / "data"))
    manifest["group"] = manifest["path"]
    dataset = ImageDataset(manifest, 24)
    store = FeedbackStore(tmp_path / "feedback.db")
    new, held_out = png(201), png(70)  # the second is a validation image
    store.add(sha(new), "fake", [], new)
    store.add(sha(held_out), "fake", [], held_out)
    both, learned = with_feedback(dataset, store.save_images(tmp_path / "reported"))
    assert learned["group"].tolist() == [sha(new)]
    assert len(both) == 9
    (row,) = np.flatnonzero(both.manifest["path"] == learned["path"].iloc[0])
    assert both.manifest["split"][row] == "train"
    assert int(both.batch([row])["image"][0, 0, 0, 0]) == 201
    store = FeedbackStore(tmp_path / "only-known.db")
    store.add(sha(held_out), "fake", [], held_out)
    with pytest.raises(DfdError, match="nothing to learn"):
        with_feedback(dataset, store.save_images(tmp_path / "known"))
