"""How fast does the server answer: one client at a time, and at a steady rate of requests?

Starts the server in a process of its own with a custom CNN and an EfficientNet-B0 of random weights, and
posts JPEGs to `/predict`, which answers with both verdicts and a heatmap.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from _paired import draw_jpegs, make_parser, show, show_machine, verdict

MEDIAN_GOAL_MS, PAGE_GOAL_S = 150, 1


def serve(port: int, folder: str, sizes: tuple[int, int]) -> None:
    """Serve two detectors until killed."""
    from dfdlib import create_detector
    from dfdlib.serve import Service, create_app, run_server
    from dfdlib.serve.feedback import FeedbackStore

    models = {
        "cnn": create_detector("cnn", sizes[0], pretrained="none"),
        "efficientnet_b0": create_detector("efficientnet_b0", sizes[1], pretrained="none"),
    }
    app = create_app(Service(models), FeedbackStore(Path(folder) / "feedback.db"))
    run_server(app, "127.0.0.1", port)


def get(port: int, path: str) -> int:
    """Fetch a page; return its status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response.status


def post(port: int, jpeg: bytes) -> tuple[float, int]:
    """Post an image; return the seconds until the answer was read, and its status."""
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/predict", head + jpeg + b"\r\n--x--\r\n", headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return time.perf_counter() - started, response.status


def at_a_rate(port: int, jpegs: Sequence[bytes], rate: float, seconds: float) -> pd.DataFrame:
    """Post `rate` images a second, whether or not the ones before are answered; return one row per request."""

    def one(i: int) -> tuple[float, int]:
        due = started + i / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        _, status = post(port, jpegs[i % len(jpegs)])
        return time.perf_counter() - due, status

    started = time.perf_counter()
    with ThreadPoolExecutor(64) as pool:
        rows = list(pool.map(one, range(int(rate * seconds))))
    return pd.DataFrame(rows, columns=["seconds", "status"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = make_parser(__doc__, repeats=60, cores=None)
    parser.add_argument("--side", type=int, default=512, help="side of the JPEGs")
    parser.add_argument(
        "--sizes", type=int, nargs=2, default=(128, 224), help="inputs of CNN and EfficientNet"
    )
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30, help="how long the rate is held")
    options = parser.parse_args(arguments)
    jpegs = draw_jpegs(8, options.side)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        server = context.Process(target=serve, args=(port, folder, tuple(options.sizes)), daemon=True)
        server.start()
        try:
            while True:
                try:
                    get(port, "/health")
                    break
                except OSError:
                    time.sleep(0.2)
            post(port, jpegs[0])
            alone = [post(port, jpegs[i % len(jpegs)])[0] for i in range(options.repeats)]
            held = at_a_rate(port, jpegs, options.rate, options.seconds)
            started = time.perf_counter()
            for path in ("/", "/static/style.css", "/static/theme.js", "/static/app.js", "/models"):
                get(port, path)
            page = time.perf_counter() - started
        finally:
            server.kill()
    errors = int((held["status"] != 200).sum())
    median = 1000 * float(np.median(alone))
    rows = [
        ("one at a time, median", f"{median:.0f} ms", verdict(median, MEDIAN_GOAL_MS, at_most=True)),
        ("one at a time, 95th percentile", f"{1000 * np.quantile(alone, 0.95):.0f} ms", ""),
        (
            f"{options.rate:g} a second for {options.seconds:g} s, errors",
            f"{errors} of {len(held)}",
            verdict(errors, 0, at_most=True),
        ),
        ("the same, median", f"{1000 * held['seconds'].median():.0f} ms", ""),
        ("the same, 95th percentile", f"{1000 * held['seconds'].quantile(0.95):.0f} ms", ""),
        ("page and all that it loads", f"{page:.3f} s", verdict(page, PAGE_GOAL_S, at_most=True)),
    ]
    show(
        f"JPEGs of {options.side} px, two detectors and a heatmap",
        pd.DataFrame(rows, columns=["what", "measured", "goal"]),
    )
    show_machine(options, os.cpu_count() or 1, ("torch", "timm", "flask", "waitress"))


if __name__ == "__main__":
    main()
