"""Detectors behind a page and a REST interface; needs the packages of `dfdlib[serve]`."""

from .app import create_app, run_server
from .service import Service, Upload, UploadError

__all__ = ["Service", "Upload", "UploadError", "create_app", "run_server"]
