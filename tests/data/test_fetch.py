"""Fetching from stand-ins of both hubs: size and licence first, killed and resumed, and without a network."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dfdlib import DfdError
from dfdlib.data import fetch as room
from dfdlib.data.fetch import KNOWN, fetch, is_address
from dfdlib.data.scan import open_raw

SHA = "0123456789" * 4
FILES = {f"{label}/{i}.png": (label, i) for label in ("real", "fake") for i in range(6)}


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


class Hub(ThreadingHTTPServer):
    """What of huggingface.co and of Kaggle's public interface a download needs."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.files = {name: png(i) for i, name in enumerate(FILES)}
        self.got, self.held, self.go = [], None, threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Answers(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        files, path = self.server.files, self.path.partition("?")[0]
        if path == "/api/datasets/me/faces":
            rows = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
            card = {"license": "cc-by-4.0"}
            self._json({"id": "me/faces", "sha": SHA, "siblings": rows, "cardData": card})
        elif path == f"/api/datasets/me/faces/tree/{SHA}":
            self._json(
                [
                    {"type": "file", "path": n, "size": len(d), "oid": n.encode().hex()}
                    for n, d in files.items()
                ]
            )
        elif path == "/api/v1/datasets/view/me/faces":
            self._json({"totalBytes": 123_456_789, "licenseName": "CC0"})
        elif path.startswith(f"/datasets/me/faces/resolve/{SHA}/"):
            self._file(path.split("/", 6)[6])
        else:
            self.send_error(404)

    def _json(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, name):
        data = self.server.files[name]
        self.send_response(200)
        for key, value in (
            ("ETag", f'"{name.encode().hex()}"'),
            ("X-Repo-Commit", SHA),
            ("Content-Length", str(len(data))),
        ):
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.server.got.append(name)
            if name == self.server.held:
                self.server.go.wait(20)
            self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = Hub()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(room, "KAGGLE", server.address)
    monkeypatch.setenv("DFD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    yield server
    server.go.set()
    server.shutdown()


def test_an_address_is_data_and_is_fetched_once(hub, tmp_path, capsys):
    manifest = open_raw("hf:me/faces")
    assert manifest["label"].value_counts().to_dict() == {"real": 6, "fake": 6}
    assert Path(manifest["root"][0]) == tmp_path / "data" / "faces"
    size = sum(map(len, hub.files.values()))
    said = capsys.readouterr().err
    assert f"hf:me/faces: {size / 1e6:.1f} MB" in said
    assert "licence: cc-by-4.0" in said
    assert {name: (tmp_path / "data/faces" / name).read_bytes() for name in hub.files} == hub.files
    hub.shutdown()
    assert open_raw("hf:me/faces")["path"].tolist() == manifest["path"].tolist()


def test_a_killed_download_goes_on(hub, tmp_path):
    hub.held = "fake/5.png"
    target = tmp_path / "here"
    code = f"from dfdlib.data.fetch import fetch; print(fetch('hf:me/faces', {str(target)!r}))"
    environment = {**os.environ, "HF_ENDPOINT": hub.address}
    run = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while time.monotonic() < until:  # the hub's library notes each file that is whole
        noted = len(list(target.glob(".cache/**/*.metadata")))
        if noted == len(hub.files) - 1 and hub.held in hub.got:
            break
        time.sleep(0.02)
    run.kill()
    assert run.wait() != 0
    assert not (target / hub.held).exists()
    hub.go.set()
    assert fetch("hf:me/faces", target) == target
    assert sorted(hub.got) == sorted([*hub.files, hub.held]), "what was whole is not fetched again"
    assert (target / hub.held).read_bytes() == hub.files[hub.held]


@pytest.mark.usefixtures("hub")
def test_a_file_that_is_not_whole_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: None)
    with pytest.raises(DfdError, match=r"12 of 12 files of hf:me/faces are not whole in .*fetch again"):
        fetch("hf:me/faces", tmp_path / "here")


@pytest.fixture
def kagglehub(monkeypatch):
    """A stand-in that leaves half an archive when it is broken off, and goes on with it."""
    fake = SimpleNamespace(stops=0, calls=0)

    def dataset_download(handle):
        fake.calls += 1
        home = Path(os.environ["KAGGLEHUB_CACHE"], "datasets", handle)
        archive = home / "1.archive"
        if not archive.exists():
            home.mkdir(parents=True)
            archive.write_bytes(b"half")
            if fake.stops:
                raise ConnectionError("the line is cut")
        fake.resumed = archive.read_bytes() == b"half"
        for name in FILES:
            file = home / "versions" / "1" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(1))
        return str(home / "versions" / "1")

    fake.dataset_download = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", fake)
    monkeypatch.delenv("KAGGLEHUB_CACHE", raising=False)
    return fake


@pytest.mark.usefixtures("hub")
def test_kaggle_goes_on_after_a_break_and_leaves_only_the_data(kagglehub, tmp_path, capsys):
    kagglehub.stops = 1
    target = tmp_path / "data" / "faces"
    with pytest.raises(DfdError, match=r"cannot be downloaded \(ConnectionError: the line is cut\).*goes on"):
        fetch("kaggle:me/faces")
    assert fetch("kaggle:me/faces") == target
    assert kagglehub.resumed
    assert sorted(p.name for p in target.iterdir() if not p.name.startswith(".")) == ["fake", "real"]
    assert not (target / ".kagglehub").exists()
    assert "kaggle:me/faces: 0.1 GB" in (said := capsys.readouterr().err)
    assert "licence: CC0" in said
    assert "KAGGLEHUB_CACHE" not in os.environ
    assert len(open_raw("kaggle:me/faces")) == 12
    assert kagglehub.calls == 2


@pytest.mark.usefixtures("hub")
def test_data_that_kaggle_has_mounted_stays_where_it_is(kagglehub, tmp_path, monkeypatch):
    monkeypatch.setattr(kagglehub, "dataset_download", lambda _: str(tmp_path / "input"))
    (tmp_path / "input").mkdir()
    assert fetch("kaggle:me/faces") == fetch("kaggle:me/faces") == tmp_path / "input"


@pytest.mark.usefixtures("hub", "kagglehub")
def test_without_a_network_a_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(room, "KAGGLE", "http://127.0.0.1:9")
    started = time.monotonic()
    for address in ("hf:me/faces", "kaggle:me/faces"):
        with pytest.raises(DfdError, match=rf"datasets/me/faces cannot be downloaded .*instead of {address}"):
            fetch(address)
    assert time.monotonic() - started < 5
    assert not (tmp_path / "data").exists()


@pytest.mark.usefixtures("hub", "kagglehub")
def test_what_cannot_be_had_is_refused(monkeypatch, tmp_path):
    for address in ("hf:me/nothing", "kaggle:me/nothing"):
        with pytest.raises(
            DfdError, match=r"me/nothing does not exist, or is not open to you \(status 404\)"
        ):
            fetch(address)
    for name in ("cifakes", "hf:faces", "hf:a/b/c"):
        with pytest.raises(DfdError, match="unknown data set"):
            fetch(name)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(DfdError, match="mine holds something else; name another folder"):
        fetch("hf:me/faces", tmp_path / "mine")
    fetch("hf:me/faces")
    with pytest.raises(
        DfdError, match=r"faces holds hf:me/faces; name another folder: dfd fetch kaggle:me/faces"
    ):
        fetch("kaggle:me/faces")
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DfdError, match=r"needs 0\.1 GB, and the disk of .* has 0\.0 MB"):
        fetch("kaggle:me/faces", tmp_path / "other")
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DfdError, match=r"pip install 'dfdlib\[fetch\]'"):
        fetch("kaggle:me/faces", tmp_path / "other")


@pytest.mark.usefixtures("hub")
def test_known_names_have_homes(monkeypatch, tmp_path):
    assert {"cifake", "deepfake-and-real", "140k-faces", "artifact", "ai-genbench"} <= set(KNOWN)
    assert all(is_address(known.home) and known.licence and known.layout for known in KNOWN.values())
    assert not any(map(is_address, ("hf", "photos", "C:/photos", "photos/hf:x")))
    monkeypatch.setitem(KNOWN, "mine", SimpleNamespace(home="hf:me/faces"))
    assert fetch("mine") == tmp_path / "data" / "mine"
