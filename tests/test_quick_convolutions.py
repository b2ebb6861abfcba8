"""Depthwise and 1 x 1 convolutions: the same answers and gradients, whatever they are computed in."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from dfdlib import create_detector
from dfdlib.quick import convolutions, quicken

KINDS = {
    "3x3, stride 2": lambda: nn.Conv2d(6, 6, 3, 2, 1, groups=6, bias=False),
    "5x5": lambda: nn.Conv2d(6, 6, 5, 1, 2, groups=6),
    "5x5, stride 2, dilated, two outputs a channel": lambda: nn.Conv2d(6, 12, 5, 2, 4, 2, groups=6),
    "padded as TensorFlow does": lambda: Conv2dSame(6, 6, 3, 2, groups=6),
    "1x1": lambda: nn.Conv2d(6, 10, 1),
}


def _both(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
    quick = copy.deepcopy(layer)
    quicken(nn.Sequential(quick))
    assert type(quick) is not type(layer)
    return layer, quick


def _backward(layer: nn.Module, images: torch.Tensor, half: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        answers = layer(images)
    quick = {
        "_Depthwise": "_GradientsBackward",
        "_DepthwiseSame": "_GradientsBackward",
        "_Pointwise": "PermuteBackward0",
    }
    assert not half or type(answers.grad_fn).__name__ == quick[type(layer).__name__]
    answers.square().mean().backward()
    return answers.detach(), [images.grad, *(weight.grad for weight in layer.parameters())]


@pytest.fixture
def images():
    return torch.randn(4, 6, 13, 14, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_in_half_precision_are_those_of_full_precision(kind, images):
    plain, quick = _both(KINDS[kind]())
    answers, gradients = _backward(quick, images, half=True)
    assert answers.dtype == torch.bfloat16
    exact, wanted = _backward(plain, images, half=False)
    torch.testing.assert_close(answers.float(), exact, rtol=0.02, atol=0.02)
    for gradient, reference in zip(gradients, wanted, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - reference).norm() < 0.01 * reference.norm()


@pytest.mark.parametrize(("channels", "group"), [(16, 16), (48, 16), (24, 8), (40, 8), (20, 1)])
@pytest.mark.parametrize("kernel", [5, (3, 5), 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_weight_gradients_by_groups_of_channels_are_those_of_each(
    channels, group, kernel, stride, monkeypatch
):
    seen = []
    kept = convolutions._backward
    monkeypatch.setattr(convolutions, "_backward", lambda *a, **k: seen.append(a[3][3]) or kept(*a, **k))
    plain, quick = _both(nn.Conv2d(channels, channels, kernel, stride, 2, groups=channels))
    images = torch.randn(3, channels, 9, 10, generator=torch.Generator().manual_seed(1))
    _, (_, ours, _) = _backward(quick, images, half=True)
    _, (_, exact, _) = _backward(plain, images, half=False)
    assert seen == [channels, channels // group]  # of the images, then of the weights
    assert (ours - exact).norm() < 0.01 * exact.norm()
    assert ((ours - exact).flatten(1).norm(dim=1) < 0.03 * exact.flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize("stride", [2, 3, (1, 2)])
@pytest.mark.parametrize("kernel", [5, 7])
def test_weight_gradients_on_maps_narrower_than_the_stride_are_those_of_each(kernel, stride):
    for seed in range(8):  # what oneDNN leaves unset may be right by chance
        plain, quick = _both(nn.Conv2d(48, 48, kernel, stride, kernel // 2, groups=48))
        images = torch.randn(2, 48, 7, 1, generator=torch.Generator().manual_seed(seed))
        spoilt = [torch.full((n,), 1e30) for n in (2**6, 2**10, 2**14, 2**16, 2**18)]
        del spoilt
        _, (_, ours, _) = _backward(quick, images, half=True)
        _, (_, exact, _) = _backward(plain, images, half=False)
        assert (ours - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_changes_in_full_precision_and_without_gradients(kind, images):
    plain, quick = _both(KINDS[kind]())
    ours, theirs = (_backward(layer, images, half=False) for layer in (quick, plain))
    assert all(torch.equal(*pair) for pair in zip(ours[1], theirs[1], strict=True))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quick(images), plain(images))


def test_frozen_weights_let_gradients_pass(images):
    plain, quick = _both(KINDS["5x5"]())
    found = []
    for layer, half in ((quick, True), (plain, False)):
        layer.weight.requires_grad_(False)
        own = images.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            layer(own).float().square().mean().backward()
        assert layer.weight.grad is None
        found.append([own.grad, layer.bias.grad])
    for gradient, reference in zip(*found, strict=True):
        assert (gradient - reference).norm() < 0.01 * reference.norm()


def test_detectors_have_them_under_the_names_they_had():
    network = create_detector("efficientnet_b0", 32, pretrained="none").network
    kinds = {name: type(module).__name__ for name, module in network.named_modules()}
    assert kinds["backbone.blocks.1.0.conv_dw"] == "_Depthwise"
    assert kinds["backbone.blocks.1.0.conv_pw"] == "_Pointwise"
    assert kinds["backbone.blocks.0.0.conv_dw"] == kinds["backbone.conv_stem"] == "Conv2d"
    assert set(copy.deepcopy(network).state_dict()) == set(network.state_dict())
