"""Detectors: networks that turn images or clips into logits, and the files that carry them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "weights": ["create_backbone", "preprocessing_of"],
        "checkpoint": ["load_detector", "save_detector"],
        "decision": ["CANT_TELL", "Decision"],
        "detector": ["Detector", "create_detector", "create_network"],
        "forward": ["VIEWS", "judge", "views_of"],
        "networks": ["Logits"],
        "onnx": ["export_onnx", "load_onnx"],
    },
)
