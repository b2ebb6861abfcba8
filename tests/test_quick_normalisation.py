"""Batch normalisation of any number of channels: the same answers, statistics and gradients."""

import copy

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from dfdlib import create_detector
from dfdlib.quick import quicken

CHANNELS_LAST = torch.channels_last


def _layer(n_channels: int) -> BatchNormAct2d:
    torch.manual_seed(0)
    layer = BatchNormAct2d(n_channels, apply_act=False, momentum=0.3)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 1.5)
        layer.bias.normal_()
    return layer


def _quicker(layer: BatchNormAct2d) -> BatchNormAct2d:
    quick = copy.deepcopy(layer)
    quicken(nn.Sequential(quick))
    assert type(quick) is not type(layer)
    return quick


def _maps(n_channels: int, mean: float = 5) -> Tensor:
    maps = torch.randn(4, n_channels, 8, 8) + mean * torch.randn(n_channels, 1, 1)
    return maps.to(torch.bfloat16, memory_format=CHANNELS_LAST)


def _trained(layer: nn.Module, maps: Tensor) -> tuple[list[Tensor], str]:
    """Return answers, gradients and statistics, and the name of the function that gave the answers."""
    maps = maps.clone().requires_grad_()
    answers = layer(maps)
    torch.manual_seed(1)
    answers.backward(torch.randn(answers.shape).to(answers) + 1)
    found = [answers.detach(), maps.grad, layer.weight.grad, layer.bias.grad]
    kind = type(answers.grad_fn).__name__
    return [part.float() for part in (*found, layer.running_mean, layer.running_var)], kind


@pytest.mark.parametrize("mean", [0, 5, 50])
@pytest.mark.parametrize("n_channels", [24, 40, 7])
def test_it_learns_in_half_precision_as_in_full(n_channels, mean):
    layer = _layer(n_channels)
    quick, maps = _quicker(layer), _maps(n_channels, mean)
    ours, kind = _trained(quick, maps)
    assert kind == "_NormalisedBackward"
    theirs, _ = _trained(layer, maps.float())
    for mine, reference in zip(ours, theirs, strict=True):
        assert (mine - reference).norm() < 0.01 * reference.norm()
    assert quick.num_batches_tracked == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda layer, maps: (layer.eval(), maps),
        lambda layer, maps: (layer, maps.float()),
        lambda layer, maps: (layer, maps.contiguous()),
        lambda layer, maps: (layer, maps[:1, :, :3, :5].contiguous(memory_format=CHANNELS_LAST)),
        lambda layer, maps: (layer.bfloat16(), maps),
    ],
    ids=["evaluation", "float32", "channels first", "a number of places that does not fit", "bf16 weights"],
)
def test_what_gains_nothing_is_left_to_pytorch(change):
    layer = _layer(24)
    quick, maps = _quicker(layer), _maps(24)
    (ours, kind), (theirs, _) = (_trained(*change(one, maps)) for one in (quick, layer))
    assert kind != "_NormalisedBackward"
    assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))


def test_activations_may_work_in_place():
    layer = BatchNormAct2d(24, act_layer=nn.ReLU, inplace=True)
    quick, maps = _quicker(layer), _maps(24)
    ours, theirs = (_trained(one, part)[0] for one, part in ((quick, maps), (layer, maps.float())))
    for mine, reference in zip(ours[2:], theirs[2:], strict=True):
        assert (mine - reference).norm() < 0.01 * reference.norm()


def test_detectors_have_it_where_the_channels_ask_for_it():
    network = create_detector("efficientnet_b0", 32, pretrained="none").network
    kinds = {name: type(module).__name__ for name, module in network.named_modules()}
    assert kinds["backbone.blocks.1.1.bn3"] == "_BatchNormAct"  # 24 channels
    assert kinds["backbone.bn1"] == "BatchNormAct2d"  # 32
