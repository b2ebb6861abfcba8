"""The real server under what the internet sends: crowds, dawdlers, and nonsense."""

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter

import cv2
import numpy as np
import pytest
from image_corpus import FORMATS, Case, mutant, whole_cases

pytest.importorskip("waitress", reason="needs dfdlib[serve]")

SCRIPT = """
    import sys
    from dfdlib import create_detector
    from dfdlib.serve import Service, create_app, run_server
    from dfdlib.serve.feedback import FeedbackStore
    models = {"cnn": create_detector("cnn", 48, pretrained="none")}
    app = create_app(Service(models), FeedbackStore(sys.argv[2]), max_bytes=2 * 2**20)
    run_server(app, port=int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The server in a process of its own; its port and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = tmp_path_factory.mktemp("feedback") / "feedback.db"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(port), str(store)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        try:
            if ask(port, "GET", "/health")[0] == 200:
                break
        except OSError:
            time.sleep(0.2)
    yield port, process.pid
    assert process.poll() is None, "the server has died"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), (1600, 1200))
    return cv2.imencode(".jpg", image)[1].tobytes()


def ask(port, method, path, body=None, kind="multipart/form-data; boundary=x"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if body is not None else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def form(data, name="image", file="a.jpg"):
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n'
    return head.encode() + data + b"\r\n--x--\r\n"


def memory_mb(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as status:  # noqa: PTH123
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))
    except OSError:
        pytest.skip("memory is read from /proc")


def crowd(port, photo, n):
    answers, lock = [], threading.Lock()

    def one():
        status, body = ask(port, "POST", "/predict", form(photo))
        with lock:
            answers.append((status, json.loads(body).get("predictions", [{}])[0].get("p_fake")))

    threads = [threading.Thread(target=one) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    return answers


def test_a_crowd_is_served_in_bounded_memory(server, photo):
    port, pid = server
    before = memory_mb(pid)
    answers = crowd(port, photo, 40)
    assert [status for status, _ in answers] == [200] * 40
    assert len({round(p, 5) for _, p in answers}) == 1
    assert memory_mb(pid) < before + 600


@pytest.mark.hard
def test_two_hundred_at_once(server, photo):
    port, pid = server
    before = memory_mb(pid)
    answers = crowd(port, photo, 200)
    assert [status for status, _ in answers] == [200] * 200
    assert memory_mb(pid) < before + 800


def test_dawdlers_keep_nobody_waiting(server, photo):
    port, _ = server
    dawdlers = []
    for _ in range(20):
        dawdler = socket.create_connection(("127.0.0.1", port), timeout=30)
        dawdler.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n")
        dawdlers.append(dawdler)
    started = time.monotonic()
    assert ask(port, "POST", "/predict", form(photo))[0] == 200
    assert time.monotonic() - started < 20
    for dawdler in dawdlers:
        dawdler.close()


@pytest.fixture(scope="module")
def files(photo):
    """Sound files to damage: what cameras and pages make, in every mode, and a photo."""
    forms = [form for form in FORMATS if form.kind in ("JPEG", "PNG", "WEBP")]
    return [Case("photo.jpg", photo, None), *whole_cases(forms, range(1, 2))]


TOKENS = [
    *b'\r\n | \n | \r\n\r\n | --x | --x-- | -- | \0 | \xff\xfe | " | ; | = | \\'.split(b" | "),
    *b'name="image" | name="image[0]" | filename*=UTF-8\'\'%00%ff | filename*=utf-16\'\'%00 | filename="'.split(
        b" | "
    ),
    *b"Content-Disposition: | Content-Length: 99999999999\r\n | Content-Transfer-Encoding: base64\r\n".split(
        b" | "
    ),
    *(b"Content-Type: multipart/mixed; boundary=x\r\n", b"X: " + b"y" * 2000 + b"\r\n", b" " * 200),
]
"""What means something in the frame of a form."""


def framing(rng, data):
    """Return a form whose image is sound, and whose frame was changed in one to four places."""
    body = form(data)
    place = body.index(data)
    head, tail = body[:place], body[place + len(data) :]
    for _ in range(rng.randint(1, 4)):
        part = bytearray(rng.choice((head, head, tail)))
        start, stop = sorted(rng.randrange(len(part) + 1) for _ in range(2))
        stop = min(stop, start + rng.choice((0, 1, 4, 40)))
        token = rng.choice([*TOKENS, bytes(part[start:stop]) * 2, rng.randbytes(3)])
        changed = bytes(part[:start]) + token + bytes(part[stop:])
        head, tail = (changed, tail) if part == head else (head, changed)
    kind = rng.choice(("x", "x", "x", "x", '"x"', "x; charset=utf-16", "y", "x" * 300, "\xff"))
    return head + data + tail, f"multipart/form-data; boundary={kind}"


def nonsense(rng, photo, files):
    """Return a body that is broken in one of many ways, and its content type."""
    body, kind = form(photo[: rng.randrange(2000)]), "multipart/form-data; boundary=x"
    choice = rng.randrange(13)
    if choice == 0:
        body = bytes(rng.randrange(256) for _ in range(rng.randrange(400)))
    elif choice == 1:
        body = body[: rng.randrange(len(body))]
    elif choice == 2:
        place = rng.randrange(len(body))
        body = body[:place] + bytes([rng.randrange(256)]) + body[place + 1 :]
    elif choice == 3:
        kind = rng.choice(
            ["multipart/form-data", "application/json", "text/plain", "multipart/form-data; boundary="]
        )
    elif choice == 4:
        body = form(photo[:500], name=rng.choice(["file", "image[]", "", "Image"]))
    elif choice == 5:
        body = form(b"x" * rng.randrange(3), file="../../\x00etc/passwd<script>")
    elif choice == 6:
        body = body.replace(b"form-data", b"form-data; " + b"a=b; " * rng.randrange(500))
    elif choice in (7, 8):
        body, kind = framing(rng, rng.choice(files[1:]).data)
    else:
        body = form(mutant(files, rng.randrange(2**32))[1])
    return body, kind


def send_nonsense(server, photo, files, n, seed):
    """Send `n` bad requests to a server that stays as it was.

    Returns how often each status was answered, and by how many MB the server has grown.
    """
    port, pid = server
    assert ask(port, "POST", "/predict", form(photo))[0] == 200
    before, rng, counts = memory_mb(pid), random.Random(seed), Counter()
    for i in range(n):
        body, kind = nonsense(rng, photo, files)
        path = rng.choice(["/predict", "/predict", "/predict", "/feedback"])
        status, answer = ask(port, "POST", path, body, kind)
        counts[status] += 1
        assert status == 200 or 400 <= status < 500, (i, status, body[:200], kind)
        said = json.loads(answer)
        assert status == 200 or said["error"].endswith("."), (i, status, answer)
        assert b"passwd" not in answer
    assert ask(port, "POST", "/predict", form(photo))[0] == 200
    grown = memory_mb(pid) - before
    assert grown < 400
    return counts, grown


def test_nonsense_gets_a_sentence(server, photo, files):
    counts, _ = send_nonsense(server, photo, files, 120, seed=0)
    assert set(counts) >= {200, 400, 415, 422}, "the ways of damage differ"


@pytest.mark.hard
def test_much_nonsense(server, photo, files, capsys):
    counts, grown = send_nonsense(server, photo, files, int(os.environ.get("DFD_FUZZ", "20000")), seed=1)
    with capsys.disabled():
        print(f"\nhard uploads: {counts.total():,} requests, {dict(sorted(counts.items()))}, {grown:+.0f} MB")
