"""Detectors as ONNX files: the same answers from ONNX Runtime, which on a CPU is the fastest engine."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfdlib.core.errors import DfdError, first_line
from dfdlib.core.files import atomic_path
from dfdlib.models.detector import Detector
from dfdlib.models.familiarity import reference_network
from dfdlib.models.networks import Logits, unit_range

_KEY = "dfdlib"


class OnnxNetwork(nn.Module):
    """A network that ONNX Runtime runs; it cannot be trained or explained."""

    def __init__(self, model: bytes) -> None:
        """Take a serialised ONNX model."""
        super().__init__()
        onnxruntime = _package("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    @property
    def target_layer(self) -> str:
        """Refuse: a graph has no layers to look into."""
        raise DfdError("an ONNX model cannot be explained; take the best_model.pt that it was exported from.")

    def forward(self, images: Tensor) -> Logits:
        """Map images [B, 3, S, S], uint8 or float in [0, 1], to `Logits`."""
        outputs = self._session.run(None, {"images": unit_range(images).contiguous().numpy()})
        return Logits(
            **{"category": None, **dict(zip(self._outputs, map(torch.from_numpy, outputs), strict=True))}
        )


class _Exported(nn.Module):
    """A detector's network and, where it has one, the familiarity of images, as one graph."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.network, self._familiarity = detector.network, detector.familiarity
        self.reference = None if detector.familiarity is None else reference_network().cpu()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images [B, 3, S, S] in [0, 1] to the outputs that there are."""
        logits = self.network(images)
        if self.reference is not None:
            logits = logits._replace(novelty=self._familiarity.novelty(self.reference(images)))
        return tuple(output for output in logits if output is not None)


def export_onnx(detector: Detector, path: str | Path) -> None:
    """Write a detector as one ONNX file; its metadata describe preprocessing, labels and threshold.

    The input `images` is float32 [B, 3, S, S], RGB in [0, 1], fitted to S by `picture.fit_image`; outputs
    are the logits `fake` [B] and, with categories, `category` [B, C], and `novelty` [B] where the detector knows what
    its training images look like: above 1 an image is unlike them. Normalisation is part of the graph.

    Raises:
        DfdError: A detector for clips, or a network that PyTorch cannot export; the packages are missing, or the
            file cannot be written.
    """
    if detector.n_frames:
        raise DfdError("detectors for clips cannot be exported yet; export one for images.")
    onnx = _package("onnx")
    _package("onnxscript")
    size = detector.image_size
    detector.network.eval().to("cpu", memory_format=torch.contiguous_format)
    known = {"category": bool(detector.categories), "novelty": detector.familiarity is not None}
    names = ["fake", *(name for name, there in known.items() if there)]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                _Exported(detector),
                (torch.zeros(2, 3, size, size),),
                input_names=["images"],
                output_names=names,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause = first_line(error.__cause__ or error)
            raise DfdError(
                f"PyTorch cannot write this network as ONNX ({cause}); use its .pt file."
            ) from error
        program.save(buffer)
    graph = buffer.getvalue()
    about = detector.about() | {
        "labels": {"0": "real", "1": "fake"},
        "input": f"float32 [batch, 3, {size}, {size}], RGB, 0 to 1",
        "output": "p_fake = sigmoid(fake / temperature); fake from threshold on; can't tell within band or for novelty > 1",
        "bytes": len(graph),
        "checksum": hashlib.sha256(graph).hexdigest(),
    }
    described = onnx.ModelProto()
    described.metadata_props.add(key=_KEY, value=json.dumps(about))
    with atomic_path(path) as temporary:  # one message after another is their union
        temporary.write_bytes(graph + described.SerializeToString())


def load_onnx(path: str | Path) -> Detector:
    """Read a detector that `export_onnx` wrote.

    Raises:
        DfdError: The file is missing, damaged or not from dfdlib, or the packages are missing.
    """
    path = Path(path)
    _package("onnxruntime")
    if not path.is_file():
        raise DfdError(f"no ONNX model at {path}; export one first, or check the path.")
    data = path.read_bytes()
    try:
        network = OnnxNetwork(data)
        about = json.loads(network.metadata[_KEY])
    except Exception as error:
        raise DfdError(f"{path} is not an ONNX model that dfdlib exported, or is damaged.") from error
    if about["checksum"] != hashlib.sha256(data[: about["bytes"]]).hexdigest():
        raise DfdError(f"{path} is damaged: its checksum does not match. Copy it anew, or export again.")
    return Detector.from_about(network, about | {"name": "onnx", "arguments": {}})


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DfdError(f"ONNX needs the package {name}; `pip install 'dfdlib[onnx]'`.") from error
