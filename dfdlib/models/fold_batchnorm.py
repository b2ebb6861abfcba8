"""Detectors for use alone: the same answers from fewer passes over the feature maps."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dfdlib.models.detector import Detector
from dfdlib.models.networks import Logits

_TOLERANCE = 1e-5
"""Largest relative change of a logit, in double precision, where folding alone changes it by about 1e-7."""
_WORTH_IT = 200
"""Images from which on folding takes less time than it saves (EfficientNet-B0, two CPU cores)."""


@torch.no_grad()
def folded(detector: Detector, n_images: int | None = None) -> Detector:
    """Return a copy of a detector that judges and explains faster, and is not to be trained or saved.

    What batch normalisation does after a convolution becomes part of the convolution's weights (Jacob et al.
    2018, arXiv:1712.05877, section 3.2), and weights lie channels-last. Layers keep their names. Which
    normalisation follows which convolution is seen in a forward pass on noise; a network whose answers would
    change, such as one that computes its weights, is left alone. So is one without batch normalisation.

    Args:
        detector: A trained detector; put in evaluation mode, otherwise left alone.
        n_images: How many images it will judge; for a few, the detector itself is returned.
    """
    detector.network.eval()
    if (n_images is not None and n_images < _WORTH_IT) or not any(
        isinstance(module, nn.BatchNorm2d) for module in detector.network.modules()
    ):
        return detector
    exact = copy.deepcopy(detector.network).requires_grad_(False).to("cpu", torch.float64)
    shape = [1, detector.n_frames, 3, detector.image_size, detector.image_size]
    noise = torch.rand([side for side in shape if side], generator=torch.Generator().manual_seed(0))
    before, pairs = _probe(exact, noise.double())
    for convolution, name in pairs:
        _fold(exact, convolution, name)
    if not _close(exact(noise.double()), before):
        exact = copy.deepcopy(detector.network).requires_grad_(False)
    quick = exact.to(detector.device, torch.float32).to(memory_format=torch.channels_last)
    return replace(detector, network=quick)


def _probe(network: nn.Module, images: Tensor) -> tuple[Logits, list[tuple[nn.Conv2d, str]]]:
    """Return the logits, and each convolution with the name of the normalisation that it feeds."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # with the tensor kept, none has the number of another
    calls: Counter[nn.Module] = Counter()
    pairs = []
    names = {module: name for name, module in network.named_modules()}
    explained = network.get_submodule(network.target_layer)

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[module] += 1
        if isinstance(module, nn.Conv2d):
            made[id(output)] = (module, output)
        elif id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [module.register_forward_hook(note) for module in names if isinstance(module, kinds)]
    logits = network(images)
    for hook in hooks:
        hook.remove()
    return logits, [
        (convolution, names[norm])
        for convolution, norm in pairs
        if calls[convolution] == calls[norm] == 1 and convolution is not explained
    ]


def _close(ours: Logits, theirs: Logits) -> bool:
    return all(
        mine is None or torch.allclose(mine.double(), other.double(), rtol=_TOLERANCE, atol=_TOLERANCE)
        for mine, other in zip(ours, theirs, strict=True)
    )


def _fold(network: nn.Module, convolution: nn.Conv2d, name: str) -> None:
    """Move a normalisation into the convolution before it; what it does besides stays in its place."""
    norm = network.get_submodule(name)
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        *(convolution.weight, convolution.bias, norm.running_mean, norm.running_var),
        *(norm.eps, norm.weight, norm.bias),
    )
    parent, _, child = name.rpartition(".")
    rest = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]  # timm's BatchNormAct2d
    setattr(network.get_submodule(parent), child, nn.Sequential(*rest))
