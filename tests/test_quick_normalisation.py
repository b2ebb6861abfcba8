"""Batch normalisation and SiLU in few passes: the same answers, statistics and gradients."""

import copy
import subprocess
import sys
from collections.abc import Callable

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
    if sys.platform != "linux":
        pytest.skip("the loops are for Linux")
    assert compiled("normalisation_loops") is not None


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
    answers.backward((torch.randn(answers.shape) + 1).bfloat16().to(answers))
    found = [answers.detach(), maps.grad, layer.weight.grad, layer.bias.grad]
    quick, last = "_NormalisedBackward", answers.grad_fn
    kinds = {type(last).__name__, *(type(before).__name__ for before, _ in last.next_functions)}
    return [part.float() for part in (*found, layer.running_mean, layer.running_var)], quick in kinds


def _assert_alike(ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Compare answers and gradients of maps, which bf16 rounds, gradients of weights, and statistics."""
    for mine, reference, tolerance in zip(ours, theirs, [0.01] * 2 + [0.004] * 2 + [1e-5] * 2, strict=False):
        assert (mine - reference).norm() < tolerance * reference.norm()


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
@pytest.mark.parametrize("n_channels", [3, 24, 48])
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


def _all_finite() -> Tensor:
    halves = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    return halves[halves.isfinite()]


def test_silu_and_its_derivative_are_right_of_every_number():
    maps = torch.linspace(-1, 1, 2, dtype=torch.bfloat16).repeat(2**15)  # mean 0, variance 1
    maps = torch.stack([maps, maps]).view(2, 1, -1, 1).contiguous(memory_format=CHANNELS_LAST)
    for number in _all_finite().float()[::97].tolist():
        layer = BatchNormAct2d(1, act_layer=nn.SiLU)
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.fill_(number)
        own = maps[:, :, :4].clone(memory_format=CHANNELS_LAST).requires_grad_()
        answers = _quicker(layer)
        found = answers(own)
        found.sum().backward()
        exact = torch.full((1,), number, requires_grad=True)
        reference = nn.functional.silu(exact)
        reference.backward()
        torch.testing.assert_close(found.float().flatten()[:1], reference, rtol=5e-3, atol=1e-37)
        torch.testing.assert_close(answers.bias.grad / own.numel(), exact.grad, rtol=5e-3, atol=1e-37)


def test_answers_are_the_nearest_numbers():
    layer = BatchNormAct2d(1, apply_act=False, eps=1e-12)
    maps = torch.tensor([-1.0, 1.0]).to(torch.bfloat16).view(1, 1, 2, 1).repeat(1, 1, 64, 1)
    for weight, wanted in ((1 + 2**-8 - 2**-20, 1), (1 + 2**-8 + 2**-20, 1 + 2**-7), (1 - 2**-20, 1)):
        with torch.no_grad():
            layer.weight.fill_(weight)
        answers = _quicker(layer)(maps.contiguous(memory_format=CHANNELS_LAST).requires_grad_())
        assert answers.abs().unique().tolist() == [wanted]


def test_small_maps_feel_eps():
    layer = _layer(24)
    quick, maps = _quicker(layer), _maps(24, mean=0) * 0.01
    _assert_alike(_trained(quick, maps)[0], _trained(layer, maps.float())[0])


@pytest.mark.parametrize("first", [0, 1e4])
@pytest.mark.parametrize("mean", [0, 300, 1000])
def test_the_variance_is_right_wherever_the_mean_and_the_first_place_lie(mean, first):
    maps = _maps(3, mean=0, shape=(16, 96, 96)) + mean
    maps[0, :, 0, 0] += first
    layer = BatchNormAct2d(3, apply_act=False, momentum=1.0)
    quick = _quicker(layer)
    assert _trained(quick, maps)[1]
    exact = maps.double().var((0, 2, 3))
    torch.testing.assert_close(quick.running_var.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("bits", [0x7FFFFFFF, 0x7FC00000, 0xFFFFFFFF - 2**32])
def test_any_nan_of_a_weight_is_seen(bits):
    quick = _quicker(_layer(24))
    with torch.no_grad():
        quick.weight[3] = torch.tensor(bits, dtype=torch.int32).view(torch.float32)
    maps = _maps(24).requires_grad_()
    answers = quick(maps)
    answers.sum().backward()
    assert answers[:, 3].isnan().all()
    assert maps.grad[:, 3].isnan().all()


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


def _with(**parts: object) -> Callable:
    def change(layer: nn.Module, maps: Tensor) -> tuple[nn.Module, Tensor]:
        for name, part in parts.items():
            setattr(layer, name, part)
        return layer, maps

    return change


CHANGES = {
    "evaluation": lambda layer, maps: (layer.eval(), maps),
    "float32": lambda layer, maps: (layer, maps.float()),
    "channels first": lambda layer, maps: (layer, maps.contiguous()),
    "bf16 weights": lambda layer, maps: (layer.bfloat16(), maps),
    "strided weights": _with(weight=nn.Parameter(torch.linspace(0.5, 1.5, 48).view(24, 2)[:, 0])),
    "strided statistics": _with(running_mean=torch.zeros(24, 2)[:, 0]),
    "cumulative statistics": _with(momentum=None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_the_loops_do_not_know_is_left_to_pytorch(change):
    layer = _layer(24)
    quick, maps = _quicker(layer), _maps(24)
    (ours, is_quick), (theirs, _) = (_trained(*change(one, maps)) for one in (quick, layer))
    assert not is_quick
    assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda layer, maps: (layer, maps.repeat(1, 2, 1, 1).contiguous(memory_format=CHANNELS_LAST)),
        lambda layer, maps: (layer, maps[:1, :, :1, :1]),
        _with(eps=0.0),
        _with(running_var=torch.ones(24, dtype=torch.bfloat16)),
        _with(running_var=torch.ones(24, dtype=torch.float64)),
        _with(bias=nn.Parameter(torch.zeros(24, dtype=torch.bfloat16))),
    ],
    ids=["channels", "one place", "eps", "bf16 statistics", "float64 statistics", "bf16 bias"],
)
def test_what_pytorch_refuses_is_refused(change):
    layer, maps = change(_layer(24), _maps(24))
    with pytest.raises((ValueError, RuntimeError)) as theirs:
        layer(maps.clone().requires_grad_())
    with pytest.raises(theirs.type):
        _quicker(layer)(maps.clone().requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_does_not_matter(dtype):
    layer = _layer(24)
    quick, maps = _quicker(layer), _maps(24)
    theirs = _trained(layer, maps.float())[0]
    torch.set_default_dtype(dtype)
    try:
        maps = maps.clone().requires_grad_()
        answers = quick(maps)
        answers.backward(torch.ones_like(answers))
    finally:
        torch.set_default_dtype(torch.float32)
    assert (answers.float() - theirs[0]).norm() < 0.01 * theirs[0].norm()
    assert (quick.running_var - layer.running_var).norm() < 1e-5 * layer.running_var.norm()


def test_second_derivatives_are_refused():
    maps = _maps(24).requires_grad_()
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(_quicker(_layer(24))(maps).sum(), maps, create_graph=True)


def test_tensors_that_are_not_what_the_loops_take_are_refused():
    loops, weight = compiled("normalisation_loops"), torch.ones(24)
    maps = _maps(24).permute(0, 2, 3, 1)
    _, slopes, statistics = loops.normalise(maps, (weight,) * 4, 0.1, 1e-3, silu=True)
    for wrong in (maps.float(), maps[..., ::2], maps[:2]):
        with pytest.raises(TypeError, match="compiled loops take"):
            loops.normalise_backward(maps, weight, statistics, wrong, slopes)


@pytest.mark.parametrize("part", ["act", "drop"])
def test_hooks_are_called_and_other_parts_run(part):
    quick, calls = _quicker(_layer(24)), []
    getattr(quick, part).register_forward_hook(lambda *_: calls.append(1))
    quick(_maps(24).requires_grad_())
    assert calls == [1]
    quick.drop = nn.Dropout(1.0)
    assert not quick(_maps(24).requires_grad_()).any()  # SiLU of 0


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
    assert done.stdout.count("training in bf16 is slower without it") == 1


def test_detectors_have_it():
    network = create_detector("efficientnet_b0", 32, pretrained="none").network
    kinds = {type(module).__name__ for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    assert kinds == {"_BatchNormAct"}
