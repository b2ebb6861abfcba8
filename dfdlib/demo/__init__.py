"""The embedded data set: drawn photographs and clips of faces, animals and vehicles, and forgeries of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clips": ["demo_clips"],
        "sets": ["demo_manifest", "forge_folder"],
    },
)
