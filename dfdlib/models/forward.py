"""The forward pass: logits of a batch, averaged over the views of test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfdlib.core.errors import unknown
from dfdlib.core.machine import keep_freed_memory
from dfdlib.models.detector import Detector
from dfdlib.models.familiarity import reference_network
from dfdlib.models.networks import Logits, unit_range

_MARGIN = 1 / 16


def flip(images: Tensor) -> Tensor:
    """Mirror images [B, C, S, S]."""
    return images.flip(-1)


def turn(images: Tensor) -> Tensor:
    """Turn images [B, C, S, S] by 90 degrees."""
    return images.rot90(1, (-2, -1))


def crop(images: Tensor) -> Tensor:
    """Cut a sixteenth off each side of images [B, C, S, S], and scale the rest to the old size."""
    size, margin = images.shape[-1], max(1, round(images.shape[-1] * _MARGIN))
    return _resized(images[..., margin : size - margin, margin : size - margin], size)


def shrink(images: Tensor) -> Tensor:
    """Reduce images [B, C, S, S] by an eighth; the border mirrors what is inside."""
    size, margin = images.shape[-1], max(1, round(images.shape[-1] * _MARGIN))
    small = _resized(images, size - 2 * margin)
    return F.pad(small, (margin, margin, margin, margin), mode="reflect")


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {"flip": flip, "turn": turn, "crop": crop, "shrink": shrink}
"""Views by name; images uint8 or float in [0, 1] go in, the same or float come out."""
DEFAULT_VIEWS = ("flip", "crop", "shrink")
"""With the unmodified image, four views."""


def check_views(names: Sequence[str]) -> None:
    """Refuse a view that does not exist. Raises `DfdError` that names the nearest one."""
    for name in names:
        if name not in VIEWS:
            raise unknown("view", name, VIEWS)


def views_of(text: str) -> list[str]:
    """Return the names in a text such as `flip, crop`. Raises `DfdError`, see `check_views`."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    check_views(names)
    return names


def _resized(images: Tensor, size: int) -> Tensor:
    return F.interpolate(
        unit_range(images), (size, size), mode="bilinear", antialias=True, align_corners=False
    )


_CPU_PART = 16
"""Images at once on a CPU: the maps of many do not fit its caches, and with fewer PyTorch has only a slow way
of 1×1 convolutions on one core (see benchmarks/inference.py)."""


@torch.inference_mode()
def judge(detector: Detector, images: Tensor, tta: Sequence[str] = (), novelty: bool = False) -> Logits:
    """Return the logits of a batch in full precision, on the CPU, averaged over the views.

    Args:
        detector: A trained detector; put in evaluation mode.
        images: uint8 [B, 3, S, S] at the detector's size, or clips [B, T, 3, S, S].
        tta: Names of `VIEWS` beside the unmodified image.
        novelty: Say too how far each image lies from the training images, where the detector knows.

    Raises:
        DfdError: Unknown view.
    """
    check_views(tta)
    keep_freed_memory()
    if detector.device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # a GPU answers as a CPU does
    network = detector.network.eval()
    parts = images.split(_CPU_PART if detector.device.type == "cpu" else max(1, len(images)))
    judged = [_judge_views(network, part.to(detector.device), tta) for part in parts]
    if novelty:
        judged = [
            one._replace(novelty=_novelty(detector, part, one))
            for one, part in zip(judged, parts, strict=True)
        ]
    return Logits(*(None if field[0] is None else torch.cat(field) for field in zip(*judged, strict=True)))


def pooled(logits: Logits, counts: Sequence[int], top: float = 1.0) -> Logits:
    """Return the logits of images, [N], from those of their views: means, of `fake` that of the highest.

    Args:
        logits: Of all views, one image after the other, F in all.
        counts: Views of each of N images.
        top: Share of an image's views whose `fake` counts, see `Native.top`.
    """

    def highest(views: Tensor) -> Tensor:
        return views.topk(max(1, round(top * len(views)))).values.mean()

    fake = torch.stack([highest(views) for views in logits.fake.split(list(counts))])
    rest = (
        None if field is None else torch.stack([views.mean(0) for views in field.split(list(counts))])
        for field in logits[1:]
    )
    return Logits(fake, *rest)


def _judge_views(network: nn.Module, images: Tensor, tta: Sequence[str]) -> Logits:
    seen = [network(images)]
    for name in tta:
        view = VIEWS[name](images.flatten(0, -4)).unflatten(0, images.shape[:-3])
        seen.append(network(view))
    fields = zip(*seen, strict=True)
    mean = Logits(*(None if field[0] is None else torch.stack(field).mean(0).cpu() for field in fields))
    return mean._replace(novelty=seen[0].novelty)  # of the unmodified image


def _novelty(detector: Detector, images: Tensor, logits: Logits) -> Tensor | None:
    """Return how far images [B, 3, S, S] or clips [B, T, 3, S, S] lie from the training images, [B]."""
    if detector.familiarity is None:
        return logits.novelty  # an ONNX graph says it by itself
    network = reference_network()
    return None if network is None else detector.familiarity.novelty(network.views(images))
