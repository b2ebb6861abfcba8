"""Detectors behind a page and a REST interface; needs the packages of `dfdlib[serve]`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "app": ["create_app", "run_server"],
        "feedback": ["FeedbackStore"],
        "service": ["Service", "Upload", "UploadError"],
    },
)
