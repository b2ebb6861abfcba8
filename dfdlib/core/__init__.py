"""The ground that every room stands on: errors, folders, whole files, threads, the machine."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "errors": ["DfdError", "ImageError", "TooLargeError", "UnknownFormatError"],
        "faces": ["Faces"],
        "files": [
            "WriteError",
            "alone_in",
            "atomic_folder",
            "atomic_path",
            "write_csv",
            "write_json",
            "write_text",
        ],
        "machine": ["setup"],
        "native": ["Native", "Part"],
        "parallel": ["read_ahead"],
        "paths": ["cache_root", "data_root", "project_root", "reports_root"],
    },
)
