"""ONNX files: the same answers, all that is needed inside, refused with a reason."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from dfdlib import DfdError, create_detector, load_detector, predict
from dfdlib.core.faces import Faces
from dfdlib.data.dataset import ImageDataset
from dfdlib.evaluation.files import judge_files
from dfdlib.images.tiles import parse_fit
from dfdlib.models.decision import Decision
from dfdlib.models.detector import Detector
from dfdlib.models.networks import Logits
from dfdlib.models.onnx import export_onnx

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "onnxscript"))), reason="needs dfdlib[onnx]"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "detector.onnx"
    detector = create_detector(
        "resnet10t", 32, ("animals", "vehicles"), pretrained="none", residual=True, seed=3
    )
    detector.decision = Decision(0.4, 1.7, (0.3, 0.6))
    export_onnx(detector, file)
    return detector, file


@pytest.mark.parametrize("tta", [(), ("flip", "crop")])
def test_answers_agree(exported, demo, tta):
    detector, file = exported
    images = ImageDataset(demo, 32).split("test")
    ours, theirs = predict(detector, images, tta=tta), predict(load_detector(file), images, tta=tta)
    assert np.abs(ours["p_fake"] - theirs["p_fake"]).max() < 1e-5
    assert np.abs(ours["p_vehicles"] - theirs["p_vehicles"]).max() < 1e-5
    assert (ours["predicted"] == theirs["predicted"]).all()


def test_any_number_of_images_at_once(exported):
    network = load_detector(exported[1]).network
    for n in (1, 7):
        assert network(torch.zeros(n, 3, 32, 32, dtype=torch.uint8)).fake.shape == (n,)


def test_metadata_describe_the_use(exported):
    detector, file = exported
    loaded = load_detector(file)
    for name in ("image_size", "categories", "decision", "origin"):
        assert getattr(loaded, name) == getattr(detector, name), name
    assert (loaded.kind, loaded.explainable) == ("onnx", False)
    about = json.loads(loaded.network.metadata["dfdlib"])
    assert about["labels"] == {"0": "real", "1": "fake"}


def test_one_logit_alone(tmp_path):
    detector = create_detector("cnn", 24)
    export_onnx(detector, tmp_path / "cnn.onnx")
    images = torch.randint(0, 256, (3, 3, 24, 24), dtype=torch.uint8)
    logits = load_detector(tmp_path / "cnn.onnx").network(images)
    assert torch.allclose(logits.fake, detector.network.eval()(images).fake, atol=1e-5)
    assert logits.category is None


def test_damaged_foreign_and_missing_files_are_refused(exported, tmp_path):
    data = bytearray(exported[1].read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(data)
    with pytest.raises(DfdError, match="damaged"):
        load_detector(damaged)
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"no model")
    with pytest.raises(DfdError, match="not an ONNX model that dfdlib exported"):
        load_detector(foreign)
    with pytest.raises(DfdError, match="no ONNX model at"):
        load_detector(tmp_path / "missing.onnx")


def test_clips_and_explanations_are_refused(exported, tmp_path):
    clips = create_detector("resnet10t", 32, pretrained="none", n_frames=4)
    with pytest.raises(DfdError, match="clips cannot be exported"):
        export_onnx(clips, tmp_path / "clips.onnx")
    with pytest.raises(DfdError, match="cannot be explained"):
        _ = load_detector(exported[1]).target_layer


class Undecided(torch.nn.Module):
    """Does one thing or another by what it sees, which no graph can."""

    def forward(self, images):
        level = images.mean((1, 2, 3))
        return Logits(level if level.sum() > 1 else -level, None)


def test_a_network_that_cannot_be_a_graph_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(DfdError, match=r"cannot write this network as ONNX \(.+\); use its \.pt file"):
        export_onnx(Detector(Undecided(), "undecided", {}, 32), tmp_path / "u.onnx")
    assert not list(tmp_path.iterdir())


def test_how_faces_are_cropped_is_kept(tmp_path):
    faces = Faces("yunet.onnx", 0.5, "all", "whole", digest="1f", model=bytes(range(256)))
    detector = create_detector("cnn", 24, faces=faces)
    export_onnx(detector, tmp_path / "cnn.onnx")
    loaded = load_detector(tmp_path / "cnn.onnx")
    assert loaded.fit == detector.fit
    assert loaded.faces.model == faces.model


def test_what_is_judged_is_kept(tmp_path, wide):
    detector = create_detector("cnn", 32, native=parse_fit("tiles, top=0.5"))
    export_onnx(detector, tmp_path / "cnn.onnx")
    loaded = load_detector(tmp_path / "cnn.onnx")
    assert loaded.fit == detector.fit
    ours, theirs = (next(judge_files([one], wide)) for one in (detector, loaded))
    assert theirs["logit"].tolist() == pytest.approx(ours["logit"].tolist(), abs=1e-3)
    assert theirs["judged"].tolist() == ours["judged"].tolist()
