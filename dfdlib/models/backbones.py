"""Backbones: any timm model by name, pretrained where it can be had, with switches for forensic traces."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import getproxies

import timm
import torch
from torch import Tensor, nn

from dfdlib.core.errors import DfdError, did_you_mean

SCRATCH = "scratch"
"""The `origin` of weights that no training has touched."""


_CONNECT_TIMEOUT_S = 3.0


def create_backbone(name: str, pretrained: str = "none", weights: str = "") -> tuple[nn.Module, str]:
    """Build a timm model as a feature extractor, without its classifier.

    Args:
        name: Any timm model name, with or without a weight tag.
        pretrained: `auto` takes timm's weights from the cache or the network, and warns once and goes on
            from scratch where neither has them; `none` starts from scratch.
        weights: A file of weights (`.pth`, `.pt`, `.safetensors`) in timm's keys; wins over `pretrained`.

    Returns:
        The module, images [B, 3, H, W] to features [B, F], and the origin of its weights: `scratch`,
        `timm: <tag>` or `file: <name>`.

    Raises:
        DfdError: Unknown name, or weights that cannot be read or do not fit.
    """
    if not timm.is_model(name.split(".")[0]):
        hint = did_you_mean(name, timm.list_models())
        raise DfdError(f"unknown backbone `{name}`{hint or '; timm.list_models() names them all.'}")
    if weights:
        backbone = _new_model(name)
        load_weights(backbone, weights)
        return backbone, f"file: {Path(weights).name}"
    if pretrained == "auto":
        backbone = _download(name)
        if backbone is not None:
            return (
                backbone,
                f"timm: {backbone.pretrained_cfg.get('tag') or backbone.pretrained_cfg['architecture']}",
            )
    return _new_model(name), SCRATCH


def load_weights(backbone: nn.Module, file: str | Path) -> None:
    """Load a file of weights into a backbone; a classifier in the file is left out.

    Raises:
        DfdError: The file is missing, is no file of weights, or does not fit; the message names the keys.
    """
    file = Path(file)
    found = {key: value for key, value in _read_state(file).items() if not _is_classifier(backbone, key)}
    wanted = backbone.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = [key for key in wanted if key not in found and key not in counters]
    surplus = [key for key in found if key not in wanted]
    misshapen = [key for key in wanted if key in found and found[key].shape != wanted[key].shape]
    if missing or surplus or misshapen:
        faults = [
            f"{len(keys)} {fault} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
            for fault, keys in (("missing", missing), ("unknown", surplus), ("of another shape", misshapen))
            if keys
        ]
        raise DfdError(
            f"{file} does not fit the backbone: of {len(wanted)} keys {'; '.join(faults)}. "
            "Name the backbone that these weights were trained with."
        )
    backbone.load_state_dict(found, strict=False)


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


class Truncated(nn.Module):
    """The first feature maps of a timm backbone.

    Traces of manipulation are local, and the early maps of a network keep them apart: classifiers cut off
    after a few blocks generalise better and cost a fraction (Chai et al. 2020, arXiv:2008.10588).
    """

    def __init__(self, model: nn.Module, stages: int) -> None:
        """Keep the first `stages` feature maps of a timm model.

        Raises:
            DfdError: The backbone has fewer maps, or cannot be cut.
        """
        super().__init__()
        info = list(model.feature_info)
        if not hasattr(model, "prune_intermediate_layers"):
            raise DfdError(f"{type(model).__name__} cannot be cut; use stages=0 or another backbone.")
        if stages > len(info):
            raise DfdError(f"`stages` is {stages}, and this backbone has {len(info)}; use 0 to keep all.")
        self._index = stages - 1
        self.last_module, self.num_features = info[self._index]["module"], info[self._index]["num_chs"]
        model.prune_intermediate_layers([self._index], prune_norm=True, prune_head=True)
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W] to the last kept map, [B, F, h, w]."""
        maps = self.model.forward_intermediates(
            images, indices=[self._index], stop_early=True, intermediates_only=True, output_fmt="NCHW"
        )
        return maps[-1]


def stage_of(backbone: nn.Module) -> dict[str, int]:
    """Return the stage of each parameter of a timm backbone, by name, counted from the image.

    A stage ends with one of timm's feature maps; what follows the last one is a stage of its own.
    """
    inner = backbone.model if isinstance(backbone, Truncated) else backbone
    prefix = "model." if isinstance(backbone, Truncated) else ""
    ends = [info["module"] for info in inner.feature_info]
    stages, stage, inside = {}, 0, False
    for module_name, module in inner.named_modules():  # in the order of their definition
        within = stage < len(ends) and f"{module_name}.".startswith(f"{ends[stage]}.")
        if inside and not within:
            stage += 1
            within = stage < len(ends) and f"{module_name}.".startswith(f"{ends[stage]}.")
        inside = within
        for name, _ in module.named_parameters(module_name, recurse=False):
            stages[prefix + name] = stage
    return stages


def first_convolution(backbone: nn.Module) -> nn.Conv2d:
    """Return the convolution that sees the image. Raises `DfdError` where there is none."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            return module
    raise DfdError(f"{type(backbone).__name__} has no convolution on the image; take another backbone.")


def _new_model(name: str, **options: bool) -> nn.Module:
    """Build a timm model without its classifier; a vision transformer takes images of any size."""
    known = timm.get_pretrained_cfg(name)
    if known is not None and known.fixed_input_size:
        try:
            return timm.create_model(
                name, num_classes=0, dynamic_img_size=True, dynamic_img_pad=True, **options
            )
        except TypeError:
            pass  # this one is bound to its size
    return timm.create_model(name, num_classes=0, **options)


def _is_classifier(backbone: nn.Module, key: str) -> bool:
    classifier = backbone.pretrained_cfg.get("classifier") or ()
    names = (classifier,) if isinstance(classifier, str) else classifier
    return any(key.startswith(f"{name}.") for name in names)


def _read_state(file: Path) -> Mapping[str, Tensor]:
    if not file.is_file():
        raise DfdError(f"no file of weights at {file}; check the path in `weights`.")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DfdError(
            f"{file} is no file of weights that can be read safely ({_first_line(error)})."
        ) from error
    while isinstance(state, Mapping):
        inner = next(
            (state[key] for key in ("state_dict", "model", "model_state_dict") if key in state), None
        )
        if inner is None:
            break
        state = inner
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DfdError(f"{file} holds no table of weights; pass a state_dict in timm's keys.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _download(name: str) -> nn.Module | None:
    """Take timm's weights from the cache or the hub; None, with one warning, where neither has them."""
    if timm.get_pretrained_cfg(name) is None or not timm.is_model_pretrained(name):
        reason = "timm has no pretrained weights of that name"
    else:
        offline = not _hub_answers()  # without this the hub's client would retry for a minute
        try:
            return _from_timm(name, offline)
        except Exception as error:
            reason = "no network, and not in the cache" if offline else _first_line(error)
    warnings.warn(
        f"no pretrained weights for {name} ({reason}): training starts from scratch. "
        "Pass `weights` with a local file, or pretrained='none' to silence this.",
        stacklevel=3,
    )
    return None


def _from_timm(name: str, offline: bool) -> nn.Module:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline
    try:
        return _new_model(name, pretrained=True)
    finally:
        constants.HF_HUB_OFFLINE = before


def _hub_answers() -> bool:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    scheme = urlparse(constants.ENDPOINT).scheme
    door = urlparse(getproxies().get(scheme, constants.ENDPOINT))  # where there is a proxy, it is the way out
    try:
        address = (door.hostname or "", door.port or (443 if door.scheme == "https" else 80))
        with socket.create_connection(address, timeout=_CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
