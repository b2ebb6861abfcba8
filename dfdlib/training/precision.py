"""The precision that training and feature extraction run in: what the machine can do decides, never a stopwatch."""

from __future__ import annotations

from typing import NamedTuple

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision(NamedTuple):
    """A precision and why it was taken."""

    name: str
    """`fp32`, `bf16` or `fp16`."""
    reason: str

    @property
    def dtype(self) -> torch.dtype:
        """What activations are computed in."""
        return DTYPES[self.name]

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the context that a forward pass runs in."""
        return torch.autocast(device.type, self.dtype, enabled=self.name != "fp32")


def choose_precision(device: torch.device, wanted: str = "auto") -> Precision:
    """Return the precision for a device.

    bf16 where the processor has AMX tiles or the GPU computes it, fp16 on older GPUs, else fp32. AVX-512-BF16
    units alone do not count: a training step of ResNet-18 or EfficientNet takes 1.3 to 2 times as long with
    them as in fp32 (PyTorch 2.14).

    Args:
        device: Where the network runs.
        wanted: `fp32`, `bf16` or `fp16` to override, or `auto`.
    """
    if wanted != "auto":
        return Precision(wanted, "as asked")
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device) >= (8, 0):
            return Precision("bf16", "the GPU computes it")
        return Precision("fp16", "this GPU only emulates bf16")
    if device.type == "cpu" and _has_amx():
        return Precision("bf16", "the processor has AMX")
    return Precision("fp32", f"half precision gains nothing on this {device.type.upper()}")


def _has_amx() -> bool:
    """Whether the processor has AMX tiles for bf16, and nothing caps PyTorch below them."""
    capable = torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AMX"))
    return capable and bool(getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16"))
