"""dfdlib: train a detector of fake images, judge it honestly, and see why it decided so.

`import dfdlib` is light: a room, and what it offers, is imported when it is first used.
"""

import os

import lazy_loader

if "OMP_WAIT_POLICY" not in os.environ:
    # A thread that waits for the others sleeps after a few microseconds. By default it spins for milliseconds, and
    # beside a busy process an epoch takes several times as long. Read when PyTorch loads its OpenMP.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["data", "demo", "evaluation", "explain", "images", "models", "notebook", "plots", "reports"],
    submod_attrs={
        "core": ["DfdError", "setup"],
        "data": [
            "ClipDataset",
            "ImageDataset",
            "open_data",
            "read_manifest",
            "scan_images",
            "write_manifest",
        ],
        "demo": ["demo_manifest", "forge_folder"],
        "evaluation": ["predict", "predict_ensemble"],
        "models": ["create_detector", "export_onnx", "load_detector", "save_detector"],
        "notebook": ["load_clips", "load_manifest"],
        "reports": ["Report"],
        "training": ["TrainConfig", "cross_validate", "fit", "fit_frozen", "learn_from_failures"],
    },
)
