"""The precision that training and feature extraction run in."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

_GAIN_NEEDED = 1.1


def choose_precision(
    network: nn.Module, loss: Callable[[nn.Module], torch.Tensor], device: torch.device
) -> tuple[str, float]:
    """Measure a training step in full and in half precision and choose the faster one.

    Args:
        network: The network on its device; its weights and statistics are left as they were.
        loss: Runs the network on a typical batch and returns a loss to differentiate.
        device: Where the network is.

    Returns:
        `fp32`, `bf16` or `fp16`, and the speed of half precision relative to fp32. Half precision must
        gain 10 %: on some CPUs it is emulated and slower.
    """
    old_gpu = device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)  # emulates bf16
    half = "fp16" if old_gpu else "bf16"
    if device.type == "mps":
        return "fp32", 1.0
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    rng = torch.get_rng_state()
    times: dict[str, list[float]] = {"fp32": [], half: []}
    for repeat in range(3):
        for precision, measured in times.items():
            started = time.perf_counter()
            dtype = torch.bfloat16 if half == "bf16" else torch.float16
            with torch.autocast(device.type, dtype, enabled=precision != "fp32"):
                value = loss(network)
            value.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat:  # the first one warms up
                measured.append(time.perf_counter() - started)
    network.zero_grad(set_to_none=True)
    network.load_state_dict(state)
    torch.set_rng_state(rng)
    gain = min(times["fp32"]) / min(times[half])
    return (half if gain >= _GAIN_NEEDED else "fp32"), gain


def inference_precision(network: Callable[[torch.Tensor], object], images: torch.Tensor) -> torch.dtype:
    """Measure a forward pass on typical images in fp32 and bf16; return the faster one's type."""
    times: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(3):
        for dtype, measured in times.items():
            started = time.perf_counter()
            with torch.inference_mode(), torch.autocast(images.device.type, dtype, dtype != torch.float32):
                network(images)
            if images.device.type == "cuda":
                torch.cuda.synchronize()
            measured.append(time.perf_counter() - started)
    gain = min(times[torch.float32]) / min(times[torch.bfloat16])
    return torch.bfloat16 if gain >= _GAIN_NEEDED else torch.float32
