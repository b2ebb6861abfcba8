"""The server against its own description: what is asked by the rules and against them gets a described answer."""

import io
import os
from collections import Counter

import pytest

pytest.importorskip("flask", reason="needs dfdlib[serve]")
schemathesis = pytest.importorskip("schemathesis", reason="needs dfdlib[test]")

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from image_corpus import scene
from PIL import Image
from requests import Request
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from dfdlib import create_detector
from dfdlib.serve import Service, create_app
from dfdlib.serve.feedback import FeedbackStore
from dfdlib.serve.service import UploadError

SEED = 0
FUZZ = int(os.environ.get("DFD_FUZZ", "2000"))
UNDECIDED = [positive_data_acceptance, negative_data_rejection]
"""What the description cannot say: which bytes are an image, and that a form may hold more than it names."""


def photo(kind):
    buffer = io.BytesIO()
    Image.fromarray(scene()[..., :3]).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The application with a tiny detector; `counts` holds how often each status was answered."""
    monkeypatch.setenv("DFD_DATA_DIR", str(tmp_path))
    models = {"cnn": create_detector("cnn", 32, pretrained="none")}
    app = create_app(Service(models), FeedbackStore(tmp_path / "feedback.db"), max_bytes=200_000)
    app.counts = Counter()

    @app.after_request
    def count(response):
        app.counts[response.status_code] += 1
        return response

    return app


@pytest.fixture
def description(server):
    """The description as the server gives it; now and then an image takes the place of random bytes."""
    client = server.test_client()
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json)
    photos = [photo(kind) for kind in ("JPEG", "PNG", "WEBP")]
    judged = client.post("/predict", data={"image": (io.BytesIO(photos[0]), "a.jpg")}).json

    @schema.hook
    def flatmap_body(_context, body):
        bodies = [st.just(body)]
        if isinstance(body, dict) and "image" in body:
            bodies += [st.sampled_from(photos).map(lambda image: {**body, "image": image})]
        if isinstance(body, dict) and "image_sha256" in body:
            bodies += [st.just({**body, "image_sha256": judged["image_sha256"]})]
        return st.one_of(bodies)

    return schema


def fuzzed(examples):
    """Return a decorator for tests that Hypothesis runs on so many examples, the same ones each time."""
    limits = settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    return lambda test: seed(SEED)(limits(test))


def sent(client, case):
    """Send what Schemathesis would send over a network."""
    request = Request(**case.as_transport_kwargs("http://localhost")).prepare()
    return client.open(
        request.path_url, method=request.method, headers=dict(request.headers), data=request.body
    )


def ask_as_described(server, description, examples):
    """Ask each operation by the rules and against them, so often each; raise the first answer that does not fit."""
    client = server.test_client()
    for found in description.get_all_operations():
        operation = found.ok()
        modes = [GenerationMode.POSITIVE]
        if operation.body:  # else there is nothing to get wrong
            modes += [GenerationMode.NEGATIVE]
        for mode in modes:

            @fuzzed(examples)
            @given(operation.as_strategy(mode))
            def check(case):
                response = sent(client, case)
                case.validate_response(response, excluded_checks=UNDECIDED)
                assert response.status_code < 400 or is_sentence(response.json["error"])

            check()


def is_sentence(text):
    return len(text) > 10 and text.endswith(".")


def test_answers_are_as_described(server, description):
    ask_as_described(server, description, 20)
    assert set(server.counts) >= {200, 400, 409, 415}


@pytest.mark.parametrize("error", [UploadError("Never described.", 410), KeyError()])
def test_answers_that_are_not_as_described_are_found(server, description, monkeypatch, error):
    monkeypatch.setattr(Service, "said", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(FailureGroup):
        ask_as_described(server, description, 20)


def test_a_value_that_is_not_as_described_is_found(server, description, monkeypatch):
    predict = Service.predict

    def surer_than_sure(service, upload):
        answer = predict(service, upload)
        answer["predictions"][0]["confidence"] = 2.0
        return answer

    monkeypatch.setattr(Service, "predict", surer_than_sure)
    with pytest.raises(FailureGroup):
        ask_as_described(server, description, 20)


@pytest.mark.hard
def test_many_answers_are_as_described(server, description, capsys):
    ask_as_described(server, description, FUZZ)
    say(server, capsys)


def say(server, capsys):
    with capsys.disabled():
        print(f"\nhard requests: {server.counts.total():,} requests, {dict(sorted(server.counts.items()))}")


ODD = ["", "\0", "\xff", "..", "[", "%", '"', ";", "-1", "null", "localhost", "9" * 30, "a" * 3000]
ODD += ["http://[", "http://a]b", "[::1", "bytes=5-2", "gzip", "multipart/form-data; boundary="]
LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=20)
ODD_TEXT = st.sampled_from(ODD) | LATIN
PATHS = ["/", "/health", "/models", "/predict", "/feedback", "/openapi.json", "/static/app.js"]
ODD_PATHS = ["/{0}", "/{0}/{1}", "/static/{0}", "/models/{0}/{1}.png", "/models/0/{0}.png"]
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "X"]
HEADERS = ["Host", "Origin", "Range", "If-Range", "If-None-Match", "If-Modified-Since", "Cookie"]
HEADERS += ["Content-Type", "Content-Length", "Accept", "Accept-Encoding", "Expect", "X-Forwarded-Host"]


def ask_oddly(server, examples):
    """Ask for odd paths, by odd methods, with odd headers; raise the first answer that is no sentence."""
    client = server.test_client()

    @fuzzed(examples)
    @given(
        st.sampled_from(METHODS[:2] * 4 + METHODS),
        st.sampled_from(PATHS * 2 + ODD_PATHS),
        st.tuples(ODD_TEXT, ODD_TEXT),
        st.dictionaries(st.sampled_from(HEADERS), ODD_TEXT, max_size=3),
        st.binary(max_size=50),
    )
    def check(method, path, parts, headers, body):
        environ = {"PATH_INFO": path.format(*parts), "QUERY_STRING": parts[1]}
        response = client.open("/", method=method, headers=headers, data=body, environ_overrides=environ)
        assert response.status_code < 500
        if response.status_code >= 400 and method != "HEAD":
            assert is_sentence(response.json["error"])

    check()


def test_odd_requests_get_a_sentence(server):
    ask_oddly(server, 200)
    assert set(server.counts) >= {200, 403, 404, 405}


@pytest.mark.hard
def test_many_odd_requests_get_a_sentence(server, capsys):
    ask_oddly(server, 10 * FUZZ)
    say(server, capsys)
