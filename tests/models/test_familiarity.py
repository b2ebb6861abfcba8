"""What a detector knows: images like its training images are familiar, others are not."""

import numpy as np
import pytest
import torch

from dfdlib import ImageDataset, create_detector, export_onnx, load_detector, predict, save_detector
from dfdlib.models.decision import UNLIKE, Decision
from dfdlib.models.familiarity import Familiarity, fit_familiarity, reference_network
from dfdlib.training.memory import learn_familiarity


def views(n, shift=0.0, seed=0):
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(12, 40, generator=torch.Generator().manual_seed(99))
    made = torch.randn(n, 12, generator=rng) @ mix + 0.1 * torch.randn(n, 40, generator=rng) + shift
    return made, made[:, :20] ** 2


def test_others_of_a_kind_are_familiar_and_shifted_ones_are_not():
    known = fit_familiarity(views(400), views(300, seed=1))
    assert float((known.novelty(views(500, seed=2)) > 1).float().mean()) < 0.05
    assert bool((known.novelty(views(50, shift=3.0, seed=3)) > 1).all())


def test_its_state_brings_it_back():
    known = fit_familiarity(views(60), views(40, seed=1))
    again = Familiarity.from_state(known.state())
    assert torch.equal(again.novelty(views(9, seed=2)), known.novelty(views(9, seed=2)))


def test_the_reference_network_sees_any_size_and_keeps_still():
    network = reference_network()
    images = torch.randint(0, 256, (2, 3, 50, 50), dtype=torch.uint8)
    features, statistics = network(images)
    assert (features.shape, statistics.shape) == ((2, 1280), (2, 288))
    torch.testing.assert_close(network(images.float() / 255), (features, statistics))
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.fixture(scope="module")
def knowing(demo, tmp_path_factory):
    """A detector that knows the demo images, in a file, and these images."""
    images = ImageDataset(demo, 32)
    detector = create_detector("cnn", 32)
    learn_familiarity(detector, images.split("train"), images.split("val"))
    file = tmp_path_factory.mktemp("knowing") / "detector.pt"
    save_detector(detector, file)
    return file, images


def test_verdicts_name_what_is_unlike_training(knowing):
    detector, images = load_detector(knowing[0]), knowing[1]
    strange = images.subset(np.arange(len(images)) < 4)
    strange._pixels = np.random.default_rng(0).integers(0, 256, (len(images), 32, 32, 3), dtype=np.uint8)
    table = predict(detector, strange)
    assert (table["novelty"] > 1).all()
    assert set(table["verdict"]) == {UNLIKE}
    assert set(table["predicted"]) <= {"real", "fake"}
    assert (predict(detector, images.split("train"))["novelty"] <= 1).mean() > 0.8


def test_onnx_says_the_same(knowing, tmp_path):
    detector, images = load_detector(knowing[0]), knowing[1].head(6)
    export_onnx(detector, tmp_path / "detector.onnx")
    ours, theirs = predict(detector, images), predict(load_detector(tmp_path / "detector.onnx"), images)
    assert theirs["novelty"].to_numpy() == pytest.approx(ours["novelty"].to_numpy(), rel=1e-3)


def test_novelty_wins_over_the_band():
    decision = Decision(0.5, band=(0.4, 0.6))
    assert decision.verdicts([0.1, 0.5, 0.9], [0.5, 0.5, 1.5]).tolist() == ["real", "can't tell", UNLIKE]
