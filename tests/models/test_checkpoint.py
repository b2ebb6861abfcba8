"""The detector file: whole and same after a round trip; refused when foreign, damaged or hostile."""

import copy
import dataclasses
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dfdlib import DfdError, load_detector, save_detector
from dfdlib.core.faces import Faces
from dfdlib.images.tiles import parse_fit
from dfdlib.models.checkpoint import load_checked
from dfdlib.models.decision import Decision
from dfdlib.models.detector import Detector, create_detector
from dfdlib.models.forward import judge

FILES = Path(__file__).parents[1] / "files"


@pytest.fixture
def detector():
    made = create_detector(
        "resnet10t", 32, ("animals", "vehicles"), pretrained="none", residual=True, stem_stride=1
    )
    made.decision, made.provenance = Decision(0.37, 1.8, (0.2, 0.6)), {"settings": {"epochs": 3}}
    made.network.train()(torch.rand(8, 3, 32, 32))  # moves the batch-norm statistics
    made.network.eval()
    return made


@pytest.fixture
def file(detector, tmp_path):
    save_detector(detector, tmp_path / "best_model.pt")
    return tmp_path / "best_model.pt"


def test_a_detector_comes_back_the_same(detector, file):
    loaded = load_detector(file)
    images = torch.rand(4, 3, 32, 32)
    ours, theirs = detector.network(images), loaded.network(images)
    assert torch.equal(ours.fake, theirs.fake)
    assert torch.equal(ours.category, theirs.category)
    for name in (
        "kind",
        "arguments",
        "image_size",
        "categories",
        "n_frames",
        "decision",
        "origin",
        "provenance",
    ):
        assert getattr(loaded, name) == getattr(detector, name)
    assert loaded.about() == detector.about()
    assert loaded.training_digests is None
    assert not loaded.network.training


def test_digests_of_the_training_images_come_back(detector, tmp_path):
    detector.training_digests = np.array([-3, 0, 2**62])
    save_detector(detector, tmp_path / "seen.pt")
    assert load_detector(tmp_path / "seen.pt").training_digests.tolist() == [-3, 0, 2**62]


def test_a_file_of_version_0_1_0_is_read(tmp_path):
    """A detector that the first release saved, and the logits that it gave."""
    file = tmp_path / "cnn.pt"
    file.write_bytes(gzip.decompress((FILES / "cnn-0.1.0.pt.gz").read_bytes()))
    old = load_detector(file)
    assert old.decision == Decision(0.41, 1.7, (0.3, 0.6))
    assert (old.kind, old.image_size, len(old.categories)) == ("cnn", 32, 3)
    pixels = torch.arange(2 * 3 * 32 * 32).mul(37).remainder(256).to(torch.uint8)
    logits, expected = (
        judge(old, pixels.reshape(2, 3, 32, 32)),
        json.loads((FILES / "cnn-0.1.0.json").read_text()),
    )
    assert logits.fake.numpy() == pytest.approx(np.array(expected["fake"]), abs=1e-6)
    assert logits.category.numpy() == pytest.approx(np.array(expected["category"]), abs=1e-6)
    save_detector(old, tmp_path / "again.pt")
    assert (tmp_path / "again.pt").stat().st_size == pytest.approx(file.stat().st_size, rel=0.01)


def test_the_file_alone_is_enough(file, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    moved = file.rename(tmp_path / "elsewhere.pt")
    assert load_detector(moved).categories == ("animals", "vehicles")


def test_one_flipped_byte_anywhere_is_found(file):
    whole = file.read_bytes()
    for place in range(1000, len(whole), len(whole) // 25):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            loaded = load_detector(file)
        except DfdError:
            continue
        file.write_bytes(whole)  # the byte was padding: then nothing may differ
        for ours, theirs in zip(
            loaded.network.state_dict().values(),
            load_detector(file).network.state_dict().values(),
            strict=True,
        ):
            assert torch.equal(ours, theirs)


def test_a_flipped_weight_is_refused(file):
    whole = bytearray(file.read_bytes())
    weight = load_detector(file).network.state_dict()["heads.fake.weight"].numpy().tobytes()
    place = whole.index(weight)
    whole[place + 10] ^= 1
    file.write_bytes(whole)
    with pytest.raises(DfdError, match="is damaged: its checksum"):
        load_detector(file)


@pytest.mark.parametrize("length", [0, 100, 5000])
def test_a_truncated_file_is_refused(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DfdError, match=r"best_model\.pt cannot be read as a checkpoint"):
        load_detector(file)


def test_a_missing_file_is_named():
    with pytest.raises(DfdError, match=r"no checkpoint at nowhere\.pt"):
        load_detector("nowhere.pt")


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "foreign.pt")
    with pytest.raises(DfdError, match=r"foreign\.pt is not a file that dfdlib saved"):
        load_detector(tmp_path / "foreign.pt")


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"format": "dfdlib-detector", "checksum": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(DfdError, match="holds code, which is never run"):
        load_detector(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_not_finite_are_refused_by_name(detector, tmp_path):
    broken = copy.deepcopy(detector)
    with torch.no_grad():
        broken.network.heads.fake.bias[0] = float("inf")
    save_detector(broken, tmp_path / "broken.pt")
    with pytest.raises(
        DfdError, match=r"broken\.pt holds values that are not finite, in `heads\.fake\.bias`"
    ):
        load_detector(tmp_path / "broken.pt")


def test_a_newer_format_is_refused(file, monkeypatch, detector):
    monkeypatch.setattr("dfdlib.models.checkpoint.FORMAT_VERSION", 99)
    save_detector(detector, file)
    monkeypatch.undo()
    with pytest.raises(DfdError, match="newer dfdlib"):
        load_detector(file)


def test_a_detector_that_does_not_fit_its_architecture_is_refused(detector, file):
    detector.arguments = {**detector.arguments, "residual": False}
    save_detector(detector, file)
    with pytest.raises(DfdError, match="does not fit its own architecture"):
        load_detector(file)


def test_a_backbone_that_0_1_cut_short_is_refused_with_the_remedy(detector, file):
    for stages in (0, 2):
        detector.arguments = {**detector.arguments, "stages": stages}
        save_detector(detector, file)
        if not stages:
            assert load_detector(file).image_size == 32, "0 meant the whole backbone"
    with pytest.raises(DfdError, match=r"cut short .*train again, or use it with 0\.1"):
        load_detector(file)


def test_a_failed_write_keeps_the_old_file(detector, file, monkeypatch):
    before = file.read_bytes()

    def full(_, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DfdError, match=r"cannot write .*best_model\.pt: No space left.*untouched"):
        save_detector(detector, file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["best_model.pt"]


def test_an_onnx_graph_and_the_suffix_of_one_are_refused(detector, tmp_path):
    for wrong, name in ((detector, "careful.onnx"), (dataclasses.replace(detector, kind="onnx"), "a.pt")):
        with pytest.raises(DfdError, match=r"a detector file holds a PyTorch network and ends in \.pt"):
            save_detector(wrong, tmp_path / name)
        assert not (tmp_path / name).exists()


def test_load_checked_returns_what_was_saved(file):
    assert load_checked(file)["format"] == "dfdlib-detector"


def test_how_faces_are_cropped_is_kept(detector, tmp_path):
    detector.faces = Faces("yunet.onnx", 0.5, "all", "whole", digest="1f", model=bytes(range(256)))
    save_detector(detector, tmp_path / "faces.pt")
    loaded = load_detector(tmp_path / "faces.pt")
    assert loaded.fit == detector.fit == (32, "bilinear", detector.faces)
    assert loaded.faces.model == detector.faces.model
    detector.faces = None
    old = detector.about()
    del old["faces"]  # as older files are
    assert Detector.from_about(detector.network, old).fit == (32, "bilinear", None)


def test_what_is_judged_is_kept(detector, tmp_path):
    tiles = dataclasses.replace(detector, native=parse_fit("tiles, most=9, top=0.5"))
    save_detector(tiles, tmp_path / "tiles.pt")
    assert load_detector(tmp_path / "tiles.pt").fit == tiles.fit == (32, "bilinear", tiles.native)
    with pytest.raises(DfdError, match="`fit` is crop; with faces and with clips it must be resize"):
        dataclasses.replace(detector, native=parse_fit("crop"), faces=Faces("yunet.onnx"))
    with pytest.raises(DfdError, match="with clips"):
        create_detector("resnet10t", 32, pretrained="none", n_frames=4, native=parse_fit("crop"))
