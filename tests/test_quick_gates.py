"""Squeeze-and-excitation: the same answers and gradients from fewer passes."""

import copy
import sys

import pytest
import timm
import torch
from torch import nn

from dfdlib import create_detector
from dfdlib.quick import gates, mean_of_places, quicken

LAYOUTS = [torch.channels_last, torch.contiguous_format]


@pytest.fixture
def images():
    return torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def _gradients(
    network: nn.Module, images: torch.Tensor, half: bool
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        answers = network(images)
    answers.float().square().mean().backward()
    return answers.detach().float(), [weight.grad for weight in network.parameters()]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backbone", ["efficientnet_b0", "mobilenetv3_small_050"])
def test_a_network_learns_as_it_did(backbone, layout, images):
    torch.manual_seed(0)
    plain = timm.create_model(backbone, num_classes=1).eval().to(memory_format=layout)  # no dropout
    quick = copy.deepcopy(plain)
    quicken(quick)
    images = images.contiguous(memory_format=layout)
    (ours, mine), (theirs, others) = (_gradients(network, images, half=False) for network in (quick, plain))
    torch.testing.assert_close(ours, theirs)
    for gradient, reference in zip(mine, others, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-3, atol=1e-5 * float(reference.abs().max()))
    with torch.no_grad():
        torch.testing.assert_close(quick(images), plain(images))


@pytest.mark.parametrize("loops", [True, False], ids=["compiled", "PyTorch's"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(4, 96, 9, 7), (3, 96, 16, 16), (1, 96, 1, 1)])
def test_the_gradient_of_a_squeeze_in_half_precision_is_that_of_full_precision(
    shape, layout, loops, monkeypatch
):
    if not loops:
        monkeypatch.setattr(gates, "compiled", lambda _module: None)
    elif sys.platform != "linux":
        pytest.skip("the loops are for Linux")
    plain = timm.create_model("efficientnet_b0").blocks[1][0].se
    quick = copy.deepcopy(plain)
    quicken(nn.Sequential(quick))
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    found = []
    for layer, half in ((quick, True), (plain, False)):
        own = (maps.bfloat16() if half else maps).clone(memory_format=torch.preserve_format).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            last = layer(own).grad_fn
        if own.is_contiguous(memory_format=torch.channels_last) and half:
            assert (last.loops is not None) == loops
        else:
            assert type(last).__name__ == "MulBackward0"
        answers, gradients = _gradients(layer, own, half)
        found.append([answers, own.grad.float(), *gradients])
    for ours, reference in zip(*found, strict=True):
        assert (ours - reference).norm() < 0.02 * reference.norm()


def test_hooks_of_its_weights_are_called_once():
    layer = timm.create_model("efficientnet_b0").blocks[1][0].se
    quicken(nn.Sequential(layer))
    calls = []
    layer.conv_reduce.weight.register_hook(lambda gradient: calls.append(gradient.shape))
    maps = torch.randn(2, 96, 4, 4).contiguous(memory_format=torch.channels_last)
    layer(maps).sum().backward()
    assert calls == [layer.conv_reduce.weight.shape]


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_050", "regnetx_002", "mixnet_s", "efficientnet_b0"])
def test_networks_of_many_kinds_learn_in_half_precision(backbone, images):
    network = (
        create_detector(backbone, 40, pretrained="none").network.train().to(memory_format=torch.channels_last)
    )
    with torch.autocast("cpu", torch.bfloat16):
        network((images * 255).byte().contiguous(memory_format=torch.channels_last)).fake.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in network.parameters())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_mean_of_places_is_the_mean(layout):
    maps = torch.randn(3, 5, 6, 7).contiguous(memory_format=layout)
    torch.testing.assert_close(mean_of_places(maps), maps.mean((2, 3)))


def test_detectors_have_them_under_the_names_they_had():
    network = create_detector("efficientnet_b0", 32, pretrained="none").network
    kinds = {name: type(module).__name__ for name, module in network.named_modules()}
    assert kinds["backbone.blocks.1.0.se"] == "_SqueezeExcite"
    assert set(timm.create_model("efficientnet_b0", num_classes=0).state_dict()) == {
        name.removeprefix("backbone.") for name in network.state_dict() if name.startswith("backbone.")
    }
