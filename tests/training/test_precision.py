"""The precision: what the machine can do decides."""

import pytest
import torch

from dfdlib.training.precision import Precision, choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_is_taken(wanted):
    assert choose_precision(CPU, wanted) == (wanted, "as asked")


@pytest.mark.parametrize(
    ("capability", "amx", "name"),
    [
        ("AMX", True, "bf16"),
        ("AVX512", True, "bf16"),
        ("AVX512", False, "fp32"),
        ("AVX2", True, "fp32"),
        ("DEFAULT", False, "fp32"),
    ],
)
def test_a_processor_needs_amx_that_nothing_caps(monkeypatch, capability, amx, name):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    chosen = choose_precision(CPU)
    assert chosen.name == name
    assert ("AMX" in chosen.reason) == (name == "bf16")


def test_an_older_pytorch_that_cannot_tell_takes_fp32(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_precision(CPU).name == "fp32"


@pytest.mark.parametrize(("capability", "name"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_a_gpu_is_asked_for_its_generation(monkeypatch, capability, name):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_precision(GPU).name == name


def test_other_devices_take_fp32():
    assert choose_precision(torch.device("mps")) == ("fp32", "half precision gains nothing on this MPS")


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_context_computes_in_it(name, dtype):
    precision, layer = Precision(name, ""), torch.nn.Linear(2, 2)
    with precision.autocast(CPU):
        assert layer(torch.zeros(1, 2)).dtype == precision.dtype == dtype
