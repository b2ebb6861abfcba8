"""Weights of backbones: names, weights that fit or not, and the hub that cannot be reached."""

import json
import os
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import timm
import torch

from dfdlib import DfdError
from dfdlib.models.weights import SCRATCH, create_backbone

PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@pytest.fixture
def resnet_weights(tmp_path):
    file = tmp_path / "resnet10t.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), file)
    return file


def test_an_unknown_name_is_refused_with_near_ones():
    with pytest.raises(DfdError, match=r"unknown backbone `resnet81`; did you mean `resnet"):
        create_backbone("resnet81")


def test_weights_of_a_file_are_used(resnet_weights):
    backbone, _, origin = create_backbone("resnet10t", "auto", str(resnet_weights))
    saved = torch.load(resnet_weights, weights_only=True)
    assert origin == "file: resnet10t.pth"
    assert torch.equal(backbone.layer4[0].conv1.weight, saved["layer4.0.conv1.weight"])


def test_wrapped_weights_are_unwrapped(resnet_weights, tmp_path):
    state = torch.load(resnet_weights, weights_only=True)
    wrapped = tmp_path / "wrapped.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, wrapped)
    backbone, *_ = create_backbone("resnet10t", weights=str(wrapped))
    assert torch.equal(backbone.conv1[0].weight, state["conv1.0.weight"])


def test_compiled_and_averaged_weights_are_understood(resnet_weights, tmp_path):
    state = torch.load(resnet_weights, weights_only=True)
    averaged = {f"_orig_mod.{key}": value for key, value in state.items()}
    file = tmp_path / "timm.pth"
    torch.save(
        {"state_dict": {key: 0 * value for key, value in state.items()}, "state_dict_ema": averaged}, file
    )
    with pytest.warns(UserWarning, match=r"timm\.pth: its averaged weights, `state_dict_ema`, are taken"):
        backbone, *_ = create_backbone("resnet10t", weights=str(file))
    assert torch.equal(backbone.conv1[0].weight, state["conv1.0.weight"])


def test_weights_that_are_not_finite_are_refused_by_name(resnet_weights, tmp_path):
    state = torch.load(resnet_weights, weights_only=True)
    state["layer1.0.conv1.weight"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(DfdError, match=r"nan\.pth holds values that are not finite, in `layer1\.0\.conv1"):
        create_backbone("resnet10t", weights=str(tmp_path / "nan.pth"))


def test_safetensors_are_read(resnet_weights, tmp_path):
    from safetensors.torch import save_file

    state = torch.load(resnet_weights, weights_only=True)
    save_file(state, tmp_path / "w.safetensors")
    backbone, *_ = create_backbone("resnet10t", weights=str(tmp_path / "w.safetensors"))
    assert torch.equal(backbone.conv1[0].weight, state["conv1.0.weight"])


def test_weights_of_another_backbone_are_refused_with_their_keys(resnet_weights):
    with pytest.raises(DfdError, match=r"resnet10t\.pth does not fit .*missing \(.*unknown \(") as caught:
        create_backbone("mobilenetv3_small_050", weights=str(resnet_weights))
    assert "Name the backbone" in str(caught.value)


def test_weights_of_another_width_are_refused(tmp_path):
    torch.save(timm.create_model("mobilenetv3_small_050").state_dict(), tmp_path / "narrow.pth")
    with pytest.raises(DfdError, match="of another shape"):
        create_backbone("mobilenetv3_small_075", weights=str(tmp_path / "narrow.pth"))


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 damaged"])
def test_files_that_hold_no_weights_are_refused(content, tmp_path):
    file = tmp_path / "w.pth"
    file.write_bytes(content)
    with pytest.raises(DfdError, match=r"w\.pth is no file of weights"):
        create_backbone("resnet10t", weights=str(file))


def test_a_missing_file_is_named():
    with pytest.raises(DfdError, match=r"no file of weights at nowhere\.pth"):
        create_backbone("resnet10t", weights="nowhere.pth")


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(DfdError, match="read safely"):
        create_backbone("resnet10t", weights=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


CREATE = """
    import json, sys, time, warnings
    from dfdlib.models.weights import create_backbone
    for line in sys.stdin:
        started = time.time()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            backbone, _, origin = create_backbone("resnet10t", "auto")
        first = float(backbone.conv1[0].weight.flatten()[0])
        messages = [str(w.message) for w in caught if "pretrained" in str(w.message)]
        print(json.dumps([origin, messages, time.time() - started, first]), flush=True)
"""


@contextmanager
def _other_process(endpoint, home):
    """Yield a function that runs create_backbone(pretrained='auto') where `endpoint` is the hub."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    for name in ("HF_HUB_OFFLINE", *PROXIES):
        environment.pop(name, None)
    command = [sys.executable, "-c", textwrap.dedent(CREATE)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def create():
            process.stdin.write("again\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield create
        process.stdin.close()
    assert process.returncode == 0


def test_without_a_network_training_starts_from_scratch_within_seconds(tmp_path):
    with _other_process("http://127.0.0.1:9", tmp_path) as create:
        origin, messages, seconds, _ = create()
    assert origin == SCRATCH
    assert len(messages) == 1
    assert "no network" in messages[0]
    assert "from scratch" in messages[0]
    assert seconds < 10


def test_weights_come_from_a_hub_that_answers_and_from_its_cache_later(tmp_path):
    from safetensors.torch import save

    model = timm.create_model("resnet10t")
    with torch.no_grad():
        model.conv1[0].weight.fill_(0.125)
    body = save(model.state_dict())

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, with_body):
            found = self.path.endswith("model.safetensors")
            self.send_response(200 if found else 404)
            self.send_header("ETag", '"abc123"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(body) if found else 0))
            self.end_headers()
            if found and with_body:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with _other_process(f"http://127.0.0.1:{server.server_port}", tmp_path) as create:
        origin, messages, _, first = create()
        server.shutdown()
        server.server_close()
        assert origin.startswith("timm: ")
        assert not messages
        assert first == pytest.approx(0.125)
        origin, messages, seconds, first = create()
    assert origin.startswith("timm: ")
    assert first == pytest.approx(0.125)
    assert seconds < 10
