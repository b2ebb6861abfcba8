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

import cv2
import numpy as np
import pytest

pytest.importorskip("waitress", reason="needs dfdlib[serve]")

SCRIPT = """
    import sys
    from dfdlib import create_detector
    from dfdlib.feedback import FeedbackStore
    from dfdlib.serve import Service, create_app, run_server
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


def nonsense(rng, photo):
    """Return a body that is broken in one of many ways, and its content type."""
    body, kind = form(photo[: rng.randrange(2000)]), "multipart/form-data; boundary=x"
    choice = rng.randrange(7)
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
    else:
        body = body.replace(b"form-data", b"form-data; " + b"a=b; " * rng.randrange(500))
    return body, kind


def send_nonsense(port, photo, n, seed):
    rng = random.Random(seed)
    for i in range(n):
        body, kind = nonsense(rng, photo)
        path = rng.choice(["/predict", "/feedback"])
        status, answer = ask(port, "POST", path, body, kind)
        assert status < 500, (i, status, body[:200], kind)
        assert json.loads(answer), (i, status, answer)
        assert b"passwd" not in answer


def test_nonsense_gets_a_sentence(server, photo):
    send_nonsense(server[0], photo, 60, seed=0)
    assert ask(server[0], "POST", "/predict", form(photo))[0] == 200


@pytest.mark.hard
def test_much_nonsense(server, photo):
    send_nonsense(server[0], photo, int(os.environ.get("DFD_FUZZ", "3000")), seed=1)
    assert ask(server[0], "GET", "/health")[0] == 200
