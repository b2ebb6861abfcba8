"""Detectors: what goes in, what comes out, and that the switches do what they say."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from dfdlib import DfdError
from dfdlib.models.checkpoint import load_detector, save_detector
from dfdlib.models.decision import Decision
from dfdlib.models.detector import Detector, create_detector, create_network
from dfdlib.models.forward import judge
from dfdlib.models.networks import HighPassResidual, Normalize

CATEGORIES = ("animals", "human_faces", "vehicles")


def small(**switches):
    return create_detector("mobilenetv3_small_050", 32, CATEGORIES, pretrained="none", **switches)


def test_output_is_one_logit_and_one_a_category():
    detector = small()
    logits = detector.network.eval()(torch.zeros(4, 3, 32, 32))
    assert logits.fake.shape == (4,)
    assert logits.category.shape == (4, 3)
    assert logits.fake.dtype == torch.float32


def test_fewer_than_two_categories_make_no_category_head():
    detector = create_detector("mobilenetv3_small_050", 32, ("animals",), pretrained="none")
    assert detector.categories == ()
    assert detector.network.eval()(torch.zeros(1, 3, 32, 32)).category is None


def test_bytes_and_floats_mean_the_same_image():
    network = small(residual=True).network.eval()
    images = torch.randint(
        0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    assert torch.allclose(network(images).fake, network(images.float() / 255).fake, atol=1e-6)


def test_the_seed_draws_the_weights_and_leaves_the_global_state_alone():
    state = torch.get_rng_state()
    first, same, other = (small(seed=seed).network.heads.fake.weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_first_logits_are_small():
    """timm draws a one-logit EfficientNet classifier within ±1, and training starts with a loss of 2."""
    detector = create_detector("tf_efficientnetv2_b0", 64, CATEGORIES, pretrained="none")
    logits = detector.network.eval()(torch.rand(8, 3, 64, 64))
    assert logits.fake.abs().max() < 1


def test_residual_ignores_flat_colour_and_ramps_and_sees_single_pixels():
    residual = HighPassResidual()
    ramp = torch.linspace(0, 1, 16).view(1, 1, 1, 16).expand(1, 3, 16, 16)
    assert residual(ramp)[..., 1:-1].abs().max() < 1e-4
    dot = torch.zeros(1, 3, 9, 9)
    dot[0, 1, 4, 4] = 1 / 255
    assert residual(dot)[0, 1, 4, 4] == pytest.approx(-0.25, abs=1e-6)
    assert residual(dot)[0, [0, 2]].abs().max() == 0


def test_residual_is_clipped():
    images = (torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert HighPassResidual(clip=3.0)(images).abs().max() == 3


def test_normalisation_matches_its_formula():
    normalize = Normalize((0.5, 0.4, 0.3), (0.2, 0.25, 0.5), residual=False)
    images = torch.rand(2, 3, 4, 4)
    expected = (images.numpy() - np.array([0.5, 0.4, 0.3]).reshape(1, 3, 1, 1)) / np.array(
        [0.2, 0.25, 0.5]
    ).reshape(1, 3, 1, 1)
    assert np.allclose(normalize(images).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_uint8_is_normalised_as_floats_are_in_any_layout(layout):
    normalize = Normalize((0.5, 0.4, 0.3), (0.2, 0.25, 0.5), residual=False)
    drawn = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    images = drawn.contiguous(memory_format=layout)
    normalised = normalize(images)
    assert torch.allclose(normalised, normalize(drawn.float() / 255), atol=1e-6)
    assert normalised.is_contiguous(memory_format=layout)
    assert torch.equal(images, drawn)  # which stay as they were


@pytest.mark.parametrize("switches", [{"residual": True}, {"stem_stride": 1}])
def test_each_switch_changes_the_answer_and_learns(switches):
    plain, switched = small().network, small(**switches).network
    images = torch.rand(4, 3, 32, 32)
    assert not torch.allclose(plain.eval()(images).fake, switched.eval()(images).fake)
    switched.train()(images).fake.sum().backward()
    assert switched.backbone.conv_stem.weight.grad.abs().sum() > 0


def test_the_target_layer_is_a_feature_map_of_the_network():
    network = small().network.eval()
    maps = []
    network.get_submodule(network.target_layer).register_forward_hook(lambda *args: maps.append(args[2]))
    network(torch.rand(1, 3, 64, 64))
    assert maps[0].ndim == 4


def test_what_a_detector_says_of_itself_makes_it_again():
    detector = small()
    detector.decision, detector.provenance = Decision(0.3, 1.5, (0.2, 0.4)), {"epoch": 2}
    about = detector.about()
    assert json.loads(json.dumps(about)) == about
    assert (about["name"], about["threshold"], about["temperature"]) == ("timm", 0.3, 1.5)
    again = Detector.from_about(detector.network, about)
    assert again == detector
    assert type(again.categories) is tuple
    assert Detector.from_about(detector.network, {**about, "band": None}).decision == Decision(0.3, 1.5)


def test_a_graph_cannot_be_looked_into():
    detector = small()
    assert detector.explainable
    assert not dataclasses.replace(detector, kind="onnx").explainable


def test_an_unknown_network_is_refused():
    with pytest.raises(DfdError, match="unknown network `tim`; did you mean `timm`"):
        create_network("tim")


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(DfdError, match="cannot be built from"):
        create_network("timm", backbone="resnet10t", colour="blue")


def test_features_and_heads_make_the_network():
    network = create_detector("resnet10t", 32, CATEGORIES, pretrained="none").network.eval()
    images = torch.rand(3, 3, 32, 32)
    apart, whole = network.heads(network.embed(images)), network(images)
    assert torch.equal(apart.fake, whole.fake)
    assert torch.equal(apart.category, whole.category)


def test_attention_weighs_the_last_map():
    plain, weighed = (
        create_detector("resnet10t", 32, pretrained="none", attention=on).network.eval()
        for on in (False, True)
    )
    assert weighed.target_layer == "attention"
    images = torch.rand(2, 3, 32, 32)
    assert weighed(images).fake.shape == (2,)
    assert not torch.allclose(plain(images).fake, weighed(images).fake)
    with pytest.raises(DfdError, match="vit_tiny_patch16_224 cuts images into patches"):
        create_detector("vit_tiny_patch16_224", 224, pretrained="none", attention=True)


def test_the_custom_cnn_looks_at_raw_pixels():
    detector = create_detector("cnn", 40, CATEGORIES)
    assert (detector.kind, detector.origin) == ("cnn", "scratch")
    convolutions = [m for m in detector.network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [32, 64, 128]
    maps = []
    layer = dict(detector.network.named_modules())[detector.target_layer]
    layer.register_forward_hook(lambda *call: maps.append(call[-1]))
    logits = detector.network.eval()(torch.rand(2, 3, 40, 40))
    assert maps[0].shape == (2, 128, 10, 10)
    assert logits.category.shape == (2, 3)


class TestClips:
    def test_a_clip_is_judged_by_its_order(self):
        network = create_detector("resnet10t", 32, CATEGORIES, pretrained="none", n_frames=4).network.eval()
        clips = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
        logits, backwards = network(clips), network(clips.flip(1))
        assert logits.fake.shape == (2,)
        assert logits.category.shape == (2, 3)
        assert not torch.allclose(logits.fake, backwards.fake)

    def test_an_image_is_a_clip_of_one_frame(self):
        network = create_detector("resnet10t", 32, pretrained="none", n_frames=4).network.eval()
        images = torch.rand(2, 3, 32, 32)
        assert torch.equal(network(images).fake, network(images[:, None]).fake)

    def test_every_weight_is_used(self):
        network = create_detector("resnet10t", 32, pretrained="none", n_frames=2).network
        network(torch.rand(2, 2, 3, 32, 32)).fake.sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        assert dict(network.named_modules())[network.target_layer] is not None


def test_only_detectors_that_saw_nothing_but_the_demo_set_are_said_to_know_nothing_else():
    detector = small()
    for sources, known in ((["demo-v5"], True), (["demo-v5", "photos"], False), ([], False)):
        detector.provenance["sources"] = sources
        assert bool(detector.limits) == known


@pytest.mark.parametrize(
    ("backbone", "size", "own"), [("efficientformer_l1", 64, 224), ("eca_halonext26ts", 200, 256)]
)
def test_a_size_that_a_backbone_cannot_take_is_refused_at_once(backbone, size, own):
    with pytest.raises(
        DfdError, match=rf"{backbone} takes no images of {size} px; set image_size={own}, its own"
    ):
        create_detector(backbone, size, pretrained="none")


@pytest.mark.parametrize("backbone", ["pit_ti_224", "gmlp_ti16_224"])
def test_a_backbone_of_one_size_is_built_for_another_and_its_file_too(backbone, tmp_path):
    detector = create_detector(backbone, 64, pretrained="none")
    save_detector(detector, tmp_path / "d.pt")
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(judge(load_detector(tmp_path / "d.pt"), images).fake, judge(detector, images).fake)


def test_a_backbone_of_one_size_keeps_it_where_none_is_asked_for():
    assert create_detector("pit_ti_224", largest_side=100, pretrained="none").image_size == 224
    assert create_detector("resnet10t", largest_side=100, pretrained="none").image_size == 100


def test_patches_have_no_stem_to_change():
    with pytest.raises(DfdError, match="vit_tiny_patch16_224 cuts images into patches"):
        create_detector("vit_tiny_patch16_224", 64, pretrained="none", stem_stride=1)
