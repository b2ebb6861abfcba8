"""Batch normalisation and SiLU in few passes: the same answers, statistics and gradients."""

import copy
import subprocess
import sys

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from dfdlib import create_detector
from dfdlib.quick import quicken
from dfdlib.quick.compiling import compiled

CHANNELS_LAST = torch.channels_last


@pytest.fixture(autouse=True)
def _compiled():
    if compiled("normalisation_loops") is None:
        pytest.skip("there is no Numba for this machine")


def _layer(n_channels: int, act: type[nn.Module] | None = nn.SiLU) -> BatchNormAct2d:
    torch.manual_seed(0)
    layer = BatchNormAct2d(n_channels, act_layer=act or nn.ReLU, apply_act=act is not None, momentum=0.3)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 1.5)
        layer.bias.normal_()
    return layer


def _quicker(layer: BatchNormAct2d) -> BatchNormAct2d:
    quick = copy.deepcopy(layer)
    quicken(nn.Sequential(quick))
    assert type(quick) is not type(layer)
    return quick


def _maps(n_channels: int, mean: float = 5, shape: tuple[int, int, int] = (4, 8, 8)) -> Tensor:
    maps = torch.randn(shape[0], n_channels, *shape[1:]) + mean * torch.randn(n_channels, 1, 1)
    return maps.to(torch.bfloat16, memory_format=CHANNELS_LAST)


def _trained(layer: nn.Module, maps: Tensor) -> tuple[list[Tensor], bool]:
    """Return answers, gradients and statistics, and whether the answers are from the compiled loops."""
    maps = maps.clone().requires_grad_()
    answers = layer(maps)
    torch.manual_seed(1)
    answers.backward(torch.randn(answers.shape).to(answers) + 1)
    found = [answers.detach(), maps.grad, layer.weight.grad, layer.bias.grad]
    quick, last = "_NormalisedBackward", answers.grad_fn
    kinds = {type(last).__name__, *(type(before).__name__ for before, _ in last.next_functions)}
    return [part.float() for part in (*found, layer.running_mean, layer.running_var)], quick in kinds


def _assert_alike(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for mine, reference in zip(ours, theirs, strict=True):
        assert (mine - reference).norm() < 0.01 * reference.norm()


@pytest.mark.parametrize("act", [nn.SiLU, nn.ReLU, None])
@pytest.mark.parametrize("mean", [0, 5, 50])
@pytest.mark.parametrize("n_channels", [24, 40, 7, 640])
def test_it_learns_in_half_precision_as_in_full(n_channels, mean, act):
    layer = _layer(n_channels, act)
    quick, maps = _quicker(layer), _maps(n_channels, mean)
    ours, is_quick = _trained(quick, maps)
    assert is_quick
    _assert_alike(ours, _trained(layer, maps.float())[0])
    assert quick.num_batches_tracked == 1


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 3, 5), (3, 7, 11), (2, 40, 36)])
@pytest.mark.parametrize("n_channels", [1, 24, 48])
def test_every_place_counts_once_however_many_threads_share_them(n_channels, shape, threads):
    layer = _layer(n_channels)
    quick, maps = _quicker(layer), _maps(n_channels, shape=shape)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours, is_quick = _trained(quick, maps)
    finally:
        torch.set_num_threads(before)
    assert is_quick
    _assert_alike(ours, _trained(layer, maps.float())[0])


def test_silu_and_its_derivative_are_right_wherever_maps_lie():
    maps = torch.linspace(-200, 200, 2**16).reshape(1, 1, -1, 1).repeat(1, 1, 1, 2)
    maps[..., 1] *= -1  # so that the mean is 0
    layer = BatchNormAct2d(1, act_layer=nn.SiLU)
    maps = maps.to(torch.bfloat16, memory_format=CHANNELS_LAST)
    with torch.no_grad():
        layer.weight.fill_(float(maps.float().std()))  # SiLU sees the maps as they are
    quick = _quicker(layer)
    ours, theirs = quick(maps.requires_grad_()).float(), nn.functional.silu(maps.float())
    assert ((ours - theirs).abs() <= 0.005 * theirs.abs() + 1e-6).all()
    assert ours.isfinite().all()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_hidden(wrong):
    quick, maps = _quicker(_layer(24)), _maps(24)
    maps[2, 3, 4, 5] = wrong
    answers = quick(maps.requires_grad_())
    assert answers[:, 3].isnan().all()
    assert quick.running_var[3].isnan()
    assert answers[:, 4:].isfinite().all()


@pytest.mark.parametrize(
    "spread", [lambda answers: answers.mean((2, 3)), lambda answers: answers.contiguous()]
)
def test_gradients_may_lie_in_memory_in_any_way(spread):
    layer, found = _layer(24), []
    maps = _maps(24)
    for one, own in ((_quicker(layer), maps), (layer, maps.float())):
        own = own.clone().requires_grad_()
        spread(one(own)).float().square().sum().backward()
        found.append([own.grad.float(), one.weight.grad, one.bias.grad])
    for mine, reference in zip(*found, strict=True):
        assert (mine - reference).norm() < 0.03 * reference.norm()


@pytest.mark.parametrize(
    "change",
    [
        lambda layer, maps: (layer.eval(), maps),
        lambda layer, maps: (layer, maps.float()),
        lambda layer, maps: (layer, maps.contiguous()),
        lambda layer, maps: (layer.bfloat16(), maps),
    ],
    ids=["evaluation", "float32", "channels first", "bf16 weights"],
)
def test_what_gains_nothing_is_left_to_pytorch(change):
    layer = _layer(24)
    quick, maps = _quicker(layer), _maps(24)
    (ours, is_quick), (theirs, _) = (_trained(*change(one, maps)) for one in (quick, layer))
    assert not is_quick
    assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))


def test_activations_may_work_in_place():
    layer = BatchNormAct2d(24, act_layer=nn.ReLU, inplace=True)
    quick, maps = _quicker(layer), _maps(24)
    ours, theirs = (_trained(one, part)[0] for one, part in ((quick, maps), (layer, maps.float())))
    _assert_alike(ours[2:], theirs[2:])


def test_without_numba_training_is_pytorchs_and_says_so():
    code = """
import sys, warnings
sys.modules["numba"] = None
import torch
from dfdlib import create_detector
network = create_detector("efficientnet_b0", 32, pretrained="none").network.train()
images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
with torch.autocast("cpu", torch.bfloat16), warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    network(images).fake.sum().backward()
print([str(one.message) for one in caught if "Numba" in str(one.message)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("Training in bf16 takes about a fifth longer without Numba") == 1


def test_detectors_have_it():
    network = create_detector("efficientnet_b0", 32, pretrained="none").network
    kinds = {type(module).__name__ for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    assert kinds == {"_BatchNormAct"}
