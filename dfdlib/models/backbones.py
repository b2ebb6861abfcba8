"""Surgery on timm backbones: more input channels, another stride, and the stage of each weight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from dfdlib.core.errors import DfdError


def widen_stem(backbone: nn.Module, extra_channels: int, trained: bool) -> None:
    """Let the first convolution take more input channels, in place.

    The new weights are zero for a trained backbone, so that it starts as it was, and drawn at the scale of
    the old ones otherwise.
    """
    stem = first_convolution(backbone)
    extra = stem.weight.new_zeros(stem.out_channels, extra_channels, *stem.kernel_size)
    if not trained:
        nn.init.normal_(extra, std=float(stem.weight.detach().std()))
    stem.weight = nn.Parameter(torch.cat([stem.weight.detach(), extra], 1))
    stem.in_channels += extra_channels


def set_stem_stride(backbone: nn.Module, stride: int) -> None:
    """Change the stride of the first convolution, in place.

    A smaller stride keeps the pixel-level traces that the usual stem averages away: "filter stride
    reduction", Rahman et al. 2023, ArtiFact (arXiv:2302.11970).
    """
    first_convolution(backbone).stride = (stride, stride)


def stage_of(backbone: nn.Module) -> dict[str, int]:
    """Return the stage of each parameter of a timm backbone, by name, counted from the image.

    A stage ends with one of timm's feature maps; what follows the last one is a stage of its own.
    """
    ends = _feature_maps(backbone)
    stages, stage, inside = {}, 0, False
    for module_name, module in backbone.named_modules():  # in the order of their definition
        within = stage < len(ends) and f"{module_name}.".startswith(f"{ends[stage]}.")
        if inside and not within:
            stage += 1
            within = stage < len(ends) and f"{module_name}.".startswith(f"{ends[stage]}.")
        inside = within
        for name, _ in module.named_parameters(module_name, recurse=False):
            stages[name] = stage
    return stages


def _feature_maps(backbone: nn.Module) -> list[str]:
    """Return the names of timm's feature maps; of a few backbones older versions of timm (1.0.23) know none."""
    return [info["module"] for info in getattr(backbone, "feature_info", ())]


_LAST_MAPS = {
    "CoaT": ("parallel_blocks.-1.norm14", "serial_blocks4.-1.norm1"),
    "CrossVit": ("blocks.-1.fusion.1.norm1",),
    "EfficientViM": ("norm.-1",),
    "HighResolutionNet": ("final_layer",),
    "MultiScaleVit": ("norm",),
    "PoolingVisionTransformer": ("transformers.-1.blocks.-1.norm1",),
    "TNT": ("blocks.-1.norm_out",),
    "Twins": ("norm",),
}
"""Layers to look at, by kind of backbone, where timm's last feature map is several tensors, or is not read."""


def last_map(backbone: nn.Module) -> str:
    """Return the dotted name of the last layer whose places reach the features.

    Where the class token alone reaches them, that is what the last block's attention reads: at places after it
    there is no gradient. Class attention (CaiT, XCiT) reads the last of the `blocks` itself.
    """
    reads_blocks = any(hasattr(backbone, name) for name in ("cls_attn_blocks", "blocks_token_only"))
    token_alone = getattr(backbone, "global_pool", "") == "token" and not reads_blocks
    known = _LAST_MAPS.get(type(backbone).__name__, ("blocks.-1.norm1",) if token_alone else ())
    found = filter(None, (_existing(backbone, path) for path in known))
    return next(chain(found, reversed(_feature_maps(backbone))))


def _existing(module: nn.Module, path: str) -> str:
    """Return a dotted path with -1 replaced by the place of the last child; empty where there is no such layer."""
    names: list[str] = []
    for part in path.split("."):
        names.append(str(len(module) - 1) if part == "-1" else part)
        module = getattr(module, names[-1], None)
        if module is None:
            return ""
    return ".".join(names)


def overruns_onednn(network: nn.Module) -> bool:
    """Return whether training would have oneDNN write past its memory, as it does for 1x1 convolutions with a stride on
    few channels (the stems of RepVGG and MobileOne; uxlfoundation/oneDNN#6035).
    """
    return any(
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.groups == 1
        and module.in_channels < 16
        for module in network.modules()
    )


@contextmanager
def without_onednn() -> Iterator[None]:
    """Compute without oneDNN, more slowly."""
    before, torch.backends.mkldnn.enabled = torch.backends.mkldnn.enabled, False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def first_convolution(backbone: nn.Module) -> nn.Conv2d:
    """Return the convolution that sees the image. Raises `DfdError` where there is none."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            return module
    raise DfdError(f"{type(backbone).__name__} has no convolution on the image; take another backbone.")
