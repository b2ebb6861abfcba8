"""Detectors: one registry, one output contract, and everything that is needed to use one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from dfdlib.core.errors import DfdError, unknown
from dfdlib.core.faces import Faces
from dfdlib.core.native import Native, Part
from dfdlib.models.clip_network import CnnLstm
from dfdlib.models.decision import Decision
from dfdlib.models.familiarity import Familiarity
from dfdlib.models.networks import CustomCnn, TimmNetwork
from dfdlib.models.weights import IMAGENET, SCRATCH, create_backbone, own_size, preprocessing_of, refused_size


@dataclass
class Detector:
    """A network and all that is needed to use it; `checkpoint` writes it to one file."""

    network: nn.Module
    """Images [B, 3, H, W], uint8 or float in [0, 1], to `Logits`. Normalises them itself."""
    kind: str
    """The network's key in `NETWORKS`, or `onnx`."""
    arguments: dict[str, Any]
    """The network's arguments; with `kind` they rebuild it."""
    image_size: int
    """Side of the square that images are fitted to, in pixels."""
    categories: tuple[str, ...] = ()
    n_frames: int = 0
    """Frames of the clips that it looks at; 0 for single images."""
    decision: Decision = field(default_factory=Decision)
    """How its logit becomes a verdict."""
    origin: str = SCRATCH
    """Where the backbone's first weights came from."""
    interpolation: str = "bilinear"
    """How images are fitted to `image_size`: `bilinear` or `bicubic`, as for the backbone's first weights."""
    faces: Faces | None = None
    """How images are cropped to faces before they are fitted; None for whole images."""
    native: Native | None = None
    """How squares of native pixels are cut from images; None where images are fitted. Excludes `faces`."""
    familiarity: Familiarity | None = None
    """What its training images look like; None where that was not learned."""
    training_digests: np.ndarray | None = None
    """Digests of the training and validation images, int64, see `manifest.content_digests`; None where unknown."""
    validation_digests: np.ndarray | None = None
    """Those of the validation images alone, which it has not learned from; None where unknown."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Training settings, data and versions; for the record only."""

    def __post_init__(self) -> None:
        if self.native and (self.faces or self.n_frames):
            raise DfdError(f"`fit` is {self.native}; with faces and with clips it must be resize.")

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next((weight.device for weight in self.network.parameters()), torch.device("cpu"))

    @property
    def limits(self) -> str:
        """What its user must know before all else; empty where nothing is known."""
        sources = self.provenance.get("sources", ())
        return DRAWN_ALONE if sources and all(name.startswith("demo-") for name in sources) else ""

    @property
    def fit(self) -> tuple[int, str, Part]:
        """How images are fitted for it: side in pixels, interpolation and part, see `picture.Picture.views`."""
        return self.image_size, self.interpolation, self.faces or self.native

    @property
    def most_views(self) -> int:
        """Views of an image that it judges at most; of faces, each gets a verdict of its own."""
        return self.native.most if self.native and self.native.tiles else 1

    @property
    def top(self) -> float:
        """Share of the views that its verdict rests on, see `Native.top`."""
        return self.native.top if self.native else 1.0

    @property
    def target_layer(self) -> str:
        """Dotted name of the network's last feature map, which Grad-CAM looks at."""
        return self.network.target_layer

    @property
    def explainable(self) -> bool:
        """Whether its network can be looked into; an ONNX graph cannot."""
        return self.kind != "onnx"

    def about(self) -> dict[str, Any]:
        """Return all but the network and the digests, in plain types: what a detector file says of itself."""
        decision = {"threshold": self.decision.threshold, "temperature": self.decision.temperature}
        fields = {name: getattr(self, name) for name in _ABOUT} | {
            "name": self.kind,
            "band": self.decision.band,
            "real_logits": self.decision.real_logits,
            "faces": self.faces and self.faces.plain(),
            "native": self.native and asdict(self.native),
        }
        return json.loads(json.dumps(fields | decision))

    @classmethod
    def from_about(cls, network: nn.Module, about: Mapping[str, Any]) -> Detector:
        """Put a network and what `about` returned together again."""
        band = tuple(about["band"]) if about.get("band") else None
        reals = tuple(about.get("real_logits", ()))
        decision = Decision(about["threshold"], about["temperature"], band, reals)
        fields = {name: about[name] for name in _ABOUT if name in about}
        fields["categories"] = tuple(fields["categories"])
        fields["faces"] = Faces.from_plain(about["faces"]) if about.get("faces") else None
        fields["native"] = Native(**about["native"]) if about.get("native") else None
        return cls(network, about["name"], **fields, decision=decision)


_ABOUT = ("arguments", "image_size", "categories", "n_frames", "origin", "interpolation", "provenance")

DRAWN_ALONE = "It was trained on the drawn images of the demo set alone, and knows nothing of photographs."

CNN_SIZE = 128
"""Input size of `networks.CustomCnn` where none is stated."""

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "timm": TimmNetwork,
    "cnn": CustomCnn,
    "cnn-lstm": CnnLstm,
}
"""Every kind of network, by the name that checkpoints know it by."""


def create_network(name: str, **arguments: Any) -> nn.Module:
    """Build a network by name. Raises `DfdError` for an unknown name or arguments that do not fit it."""
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    if arguments.pop("stages", 0):
        raise DfdError(
            "this backbone was cut short (`stages`), as dfdlib 0.1 did; train again, or use it with 0.1."
        )
    try:
        return NETWORKS[name](**arguments)
    except TypeError as error:
        raise DfdError(f"the network `{name}` cannot be built from {arguments}: {error}.") from error


def create_detector(
    backbone: str,
    image_size: int = 0,
    categories: Sequence[str] = (),
    pretrained: str = "auto",
    weights: str = "",
    seed: int = 0,
    n_frames: int = 0,
    fallback: str = "",
    largest_side: int = 0,
    interpolation: str = "",
    faces: Faces | None = None,
    native: Native | None = None,
    **switches: Any,
) -> Detector:
    """Build a detector: real/fake, and the category too where categories are given.

    Args:
        backbone: Any timm model name (`tf_efficientnetv2_b0` is small enough for a CPU), or `cnn` for
            `networks.CustomCnn`.
        image_size: Side of the square input in pixels; 0 for what the backbone's weights were trained at, or
            `largest_side` where that is smaller and the backbone takes any size.
        categories: Names of the categories; fewer than two make a detector without a category head.
        pretrained: `auto` or `none`, see `weights.create_backbone`.
        weights: A local file of backbone weights.
        seed: Draws the weights that start at random.
        n_frames: Frames of a clip, for `clip_network.CnnLstm` over the backbone; 0 for single images.
        fallback: The backbone to take where pretrained weights of the wanted one cannot be had.
        largest_side: The images' own size, see `dataset.typical_side`; 0 for any.
        interpolation: `bilinear` or `bicubic`, where it is not to be that of the backbone's weights.
        faces: How images are cropped to faces, see `images.faces.parse_faces`; whole images when not given.
        native: How squares of native pixels are cut, see `images.tiles.parse_fit`; images are fitted when not given.
        switches: Further arguments of the network, such as `residual` and `stem_stride`.

    Raises:
        DfdError: Unknown backbone, a size or a switch that it cannot take, weights that do not fit, or `native` with
            `faces` or clips.
    """
    categories = tuple(categories) if len(categories) > 1 else ()
    arguments: dict[str, Any] = {"n_categories": len(categories), **switches}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if backbone == "cnn":
            kind, origin, prepared = "cnn", SCRATCH, IMAGENET._replace(image_size=CNN_SIZE)
            network = create_network(kind, **arguments)
        else:
            found = create_backbone(backbone, pretrained, weights, fallback, image_size)
            kind, origin = "cnn-lstm" if n_frames else "timm", found.origin
            prepared = IMAGENET if origin == SCRATCH else preprocessing_of(found.name)
            if own := own_size(found.name):
                prepared, largest_side = prepared._replace(image_size=own), 0
                arguments |= {"image_size": image_size} if image_size not in (0, own) else {}
            arguments |= {"backbone": found.name, "mean": list(prepared.mean), "std": list(prepared.std)}
            network = create_network(kind, **arguments, module=None if origin == SCRATCH else found.module)
    size = image_size or min(prepared.image_size, largest_side or prepared.image_size)
    _check_size(network, arguments.get("backbone", backbone), size, n_frames)
    interpolation = interpolation or prepared.interpolation
    about = {"origin": origin, "interpolation": interpolation, "faces": faces, "native": native}
    return Detector(network, kind, arguments, size, categories, n_frames, **about)


def _check_size(network: nn.Module, name: str, size: int, n_frames: int) -> None:
    """Refuse a network that cannot take the size, before any image is decoded."""
    frames = (1,) if n_frames else ()
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, *frames, 3, size, size, dtype=torch.uint8))
    except (AssertionError, ArithmeticError, IndexError, RuntimeError, ValueError) as error:
        raise refused_size(name, size) from error
