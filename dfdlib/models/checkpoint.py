"""The detector file: written atomically, read safely, refused with a reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.serialization import config as saving

from dfdlib.core.errors import DfdError, first_line
from dfdlib.core.files import atomic_path
from dfdlib.models.detector import Detector, create_network
from dfdlib.models.familiarity import Familiarity
from dfdlib.models.weights import check_finite

FORMAT = "dfdlib-detector"
FORMAT_VERSION = 1


def save_detector(detector: Detector, path: str | Path) -> None:
    """Write a detector to one file that `load_detector` needs nothing else to rebuild.

    Raises:
        DfdError: The file cannot be written; an older one there stays whole. Or the detector is an ONNX graph,
            or the file is called `.onnx`.
    """
    if not detector.explainable or Path(path).suffix == ".onnx":
        raise DfdError(
            f"{path}: a detector file holds a PyTorch network and ends in .pt; change that, and export it again."
        )
    state = {name: tensor.detach().cpu() for name, tensor in detector.network.state_dict().items()}
    content = {"format": FORMAT, "version": FORMAT_VERSION, "about": detector.about(), "state": state}
    if detector.familiarity is not None:
        content["familiarity"] = detector.familiarity.state()
    if detector.training_digests is not None:
        content["seen"] = torch.from_numpy(detector.training_digests)
    if detector.validation_digests is not None:
        content["validation"] = torch.from_numpy(detector.validation_digests)
    save_checked(content, path)


def load_detector(path: str | Path, device: str | torch.device = "cpu") -> Detector:
    """Rebuild a detector, in evaluation mode, from the file that `save_detector` wrote.

    Nothing in the file is executed: it is read with `weights_only=True`, and a checksum finds damage. A
    `.onnx` file that `onnx.export_onnx` wrote gives a detector that ONNX Runtime runs.

    Raises:
        DfdError: The file is missing, damaged, written by something else or by a newer dfdlib, holds weights
            that are not finite, or does not fit its own architecture.
    """
    if Path(path).suffix == ".onnx":
        from dfdlib.models.onnx import load_onnx

        return load_onnx(path)
    content = load_checked(path)
    if content.get("format") != FORMAT:
        raise DfdError(f"{path} is not a detector that dfdlib saved; pass a best_model.pt from a dfdlib run.")
    if content["version"] > FORMAT_VERSION:
        raise DfdError(f"{path} was written by a newer dfdlib (format {content['version']}); update dfdlib.")
    check_finite(content["state"], path)
    about = content["about"]
    network = create_network(about["name"], **about["arguments"])
    try:
        network.load_state_dict(content["state"])
    except RuntimeError as error:
        raise DfdError(
            f"{path} does not fit its own architecture {about['name']}{about['arguments']} as this version "
            f"of timm builds it; install the versions that it was trained with: "
            f"{about['provenance'].get('versions', 'not recorded')}."
        ) from error
    detector = Detector.from_about(network.to(device).eval(), about)
    if "familiarity" in content:
        detector.familiarity = Familiarity.from_state(content["familiarity"])
    detector.training_digests = content["seen"].numpy() if "seen" in content else None
    detector.validation_digests = content["validation"].numpy() if "validation" in content else None
    return detector


def save_checked(content: Mapping[str, Any], path: str | Path) -> None:
    """Write a table of tensors and plain values atomically, with a checksum of it all."""
    with atomic_path(path) as temporary:
        try:
            with saving.patch({"save.compute_crc32": False}):  # it would take as long as all the rest
                torch.save({**content, "checksum": checksum(content)}, temporary)
        except RuntimeError as error:  # what PyTorch makes of a full disk
            raise OSError(first_line(error)) from error


def load_checked(path: str | Path) -> dict[str, Any]:
    """Read what `save_checked` wrote. Raises `DfdError` for a missing, foreign or damaged file."""
    path = Path(path)
    if not path.is_file():
        raise DfdError(f"no checkpoint at {path}; train one first, or check the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DfdError(
            f"{path} cannot be read as a checkpoint: it is damaged, no checkpoint at all, or holds code, "
            "which is never run. Train again, or take it from a source that you trust."
        ) from error
    if not isinstance(content, dict) or "checksum" not in content:
        raise DfdError(f"{path} is not a file that dfdlib saved; pass a best_model.pt from a dfdlib run.")
    if content.pop("checksum") != checksum(content):
        raise DfdError(f"{path} is damaged: its checksum does not match. Copy it anew, or train again.")
    return content


def checksum(value: Any) -> str:
    """Return the SHA-256, in hex, of a nested table of tensors and plain values."""
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    """Add a nested table to the digest: tensors by type, shape and bytes, anything else by its text."""
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous()
        digest.update(f"{flat.dtype}{tuple(flat.shape)}".encode())
        digest.update(flat.reshape(-1).view(torch.uint8).numpy() if flat.numel() else b"")
    elif isinstance(value, Mapping):
        for key in value:
            digest.update(f"<{key!r}>".encode())
            _feed(digest, value[key])
    elif isinstance(value, (list, tuple)):
        digest.update(f"[{len(value)}]".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(repr(value).encode())
