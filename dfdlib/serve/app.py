"""The REST interface and the pages, as a Flask application behind waitress."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import torch
from flask import Flask, Response, jsonify, request, send_file, send_from_directory
from flask_cors import CORS
from werkzeug.exceptions import HTTPException

from dfdlib import __version__
from dfdlib.core.errors import DfdError
from dfdlib.serve.feedback import FeedbackStore
from dfdlib.serve.service import Service, UploadError

MAX_BYTES = 16 * 2**20
"""Larger requests are refused unread."""
_PAGES = Path(__file__).with_name("pages")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_log = logging.getLogger(__name__)


def create_app(
    service: Service, feedback: FeedbackStore, origins: Sequence[str] = (), max_bytes: int = MAX_BYTES
) -> Flask:
    """Build the application; `pages/openapi.json` describes what it answers.

    Args:
        service: The detectors.
        feedback: Where users' reports go.
        origins: Other web origins whose pages may call it, such as `https://example.org`; none by default. The
            origin of a proxy on this machine belongs here too.
        max_bytes: Largest request.
    """
    app = Flask("dfdlib", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_bytes
    app.json.sort_keys = False
    CORS(app, origins=list(origins), methods=["GET", "POST"])
    _add_pages(app)
    _add_reports(app, service, feedback)
    _add_judging(app, service, feedback)
    _add_errors(app)

    names = _LOOPBACK | {urlsplit(origin).hostname for origin in origins}

    @app.before_request
    def refuse_other_names() -> None:
        """Let no other site's name lead to this machine (DNS rebinding): its pages would count as our own."""
        asked = _split(f"//{request.host}").hostname
        if request.remote_addr in _LOOPBACK and asked not in names:
            is_not = f"is not {asked}" if asked else "needs a Host header with its name"
            raise UploadError(f"This server {is_not}; start it with --origin for such a name.", 403)

    @app.before_request
    def refuse_other_sites() -> None:
        """Let no other site's page post in its visitor's name: browsers state where a request comes from."""
        origin = request.headers.get("Origin")
        known = origin is None or origin in origins or _split(origin).netloc == request.host
        if request.method == "POST" and not known:
            raise UploadError("Pages of other sites may not use this server.", 403)

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.extend(
            {name: value for name, value in _HEADERS.items() if name not in response.headers}
        )
        if request.path not in ("/", "/dashboard") and "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        return response

    return app


def run_server(app: Flask, host: str = "127.0.0.1", port: int = 8000, threads: int = 4) -> None:
    """Serve until interrupted, with waitress; requests are answered side by side and share the cores.

    Raises:
        DfdError: The port cannot be had.
    """
    import waitress

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // threads))
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue under load is what it is for
    limit = app.config["MAX_CONTENT_LENGTH"]
    try:
        server = waitress.create_server(
            app,
            host=host,
            port=port,
            threads=threads,
            connection_limit=200,
            channel_timeout=30,
            max_request_body_size=limit + 2**20,  # the application's own refusal comes first, as JSON
            ident=None,
        )
    except OSError as error:
        raise DfdError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port."
        ) from error
    try:
        server.run()
    finally:
        server.close()


def _split(url: str) -> SplitResult:
    """Split a URL; what is no URL has empty parts."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _add_pages(app: Flask) -> None:
    @app.get("/")
    def page() -> Response:
        return send_from_directory(_PAGES, "index.html")

    @app.get("/dashboard")
    def dashboard() -> Response:
        return send_from_directory(_PAGES, "dashboard.html")

    @app.get("/static/<name>")
    def static_file(name: str) -> Response:
        return send_from_directory(_PAGES, name, max_age=3600)

    @app.get("/openapi.json")
    def openapi() -> Response:
        description = json.loads((_PAGES / "openapi.json").read_text(encoding="utf-8"))
        description["info"]["version"] = __version__
        return jsonify(description)


def _add_reports(app: Flask, service: Service, feedback: FeedbackStore) -> None:
    @app.get("/health")
    def health() -> Response:
        return jsonify(status="ok", models=list(service.models), version=__version__)

    @app.get("/models")
    def models() -> Response:
        limit = app.config["MAX_CONTENT_LENGTH"]
        return jsonify(
            models=service.about(),
            notice=service.notice,
            ready=not service.preparing,
            max_bytes=limit,
            version=__version__,
        )

    @app.get("/examples")
    def examples() -> Response:
        return jsonify(
            examples=[{key: one[key] for key in ("label", "generator")} for one in service.examples()]
        )

    @app.get("/examples/<int:index>.jpg")
    def example(index: int) -> Response:
        found = service.examples()
        if index >= len(found):
            raise UploadError("There is no such example.", 404)
        return send_file(found[index]["file"], mimetype="image/jpeg")

    @app.get("/models/<int:index>/<name>.png")
    def figure(index: int, name: str) -> Response:
        return send_file(service.figure(index, name), mimetype="image/png")

    @app.get("/feedback")
    def reported() -> Response:
        return jsonify(feedback.summary())


def _add_judging(app: Flask, service: Service, feedback: FeedbackStore) -> None:
    @app.post("/predict")
    def predict() -> Response:
        return jsonify(service.predict(service.read(_image_of_request())))

    @app.post("/feedback")
    def report() -> tuple[Response, int]:
        sha256, label = request.form.get("image_sha256", ""), request.form.get("label", "")
        if label not in ("real", "fake"):
            raise UploadError("The field `label` must be `real` or `fake`.", 400)
        predictions = service.said(sha256)
        data = None
        if "image" in request.files:
            if request.form.get("consent") != "yes":
                raise UploadError("An image is kept only where the field `consent` is `yes`.", 400)
            data = _image_of_request()
            upload = service.read(data)
            if upload.sha256 != sha256 or upload.video is not None:
                raise UploadError(
                    "This is not the image that `image_sha256` names; videos are not kept.", 400
                )
        feedback.add(sha256, label, predictions, data)
        return jsonify(stored_image=data is not None), 201


def _image_of_request() -> bytes:
    """Return the bytes of the one upload; its name is never looked at."""
    files = request.files.getlist("image")
    if not files:
        raise UploadError("Send an image in the field `image` of a multipart form.", 400)
    if len(files) > 1:
        raise UploadError(f"Send one image at a time; this request has {len(files)}.", 400)
    return files[0].read()


def _add_errors(app: Flask) -> None:
    @app.errorhandler(UploadError)
    def refused(error: UploadError) -> tuple[Response, int]:
        return jsonify(error=str(error)), error.status

    @app.errorhandler(DfdError)
    def failed(error: DfdError) -> tuple[Response, int]:
        return jsonify(error=str(error)), 503

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int]:
        text = error.description or error.name
        if error.code == 413:
            text = (
                f"The upload is larger than {app.config['MAX_CONTENT_LENGTH'] // 2**20} MB; reduce it first."
            )
        response = jsonify(error=text)
        if error.code == 405:
            response.headers["Allow"] = ", ".join(error.valid_methods or ())
        return response, error.code or 500

    @app.errorhandler(Exception)
    def broken(error: Exception) -> tuple[Response, int]:
        _log.error("a request failed", exc_info=error)
        return jsonify(
            error="The server failed on this request; it keeps running, and its log says why."
        ), 500
