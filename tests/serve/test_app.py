"""The REST interface: what it answers, what it refuses and how, and that it goes on."""

import base64
import io
import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("flask", reason="needs dfdlib[serve]")

from PIL import Image

from dfdlib import DfdError, create_detector, load_detector, save_detector
from dfdlib.cli.app import main
from dfdlib.data.manifest import files_of
from dfdlib.models.decision import Decision
from dfdlib.models.detector import DRAWN_ALONE
from dfdlib.models.onnx import export_onnx
from dfdlib.serve import Service, create_app
from dfdlib.serve.feedback import FeedbackStore


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _own_data(tmp_path_factory, monkeypatch):
    """Keep drawn examples out of the user's data folder."""
    monkeypatch.setenv("DFD_DATA_DIR", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (96, 72))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two detectors with bands, and an ONNX one."""
    folder = tmp_path_factory.mktemp("models")
    for name, backbone, categories in (("cnn", "cnn", ()), ("net", "resnet10t", ("animals", "vehicles"))):
        detector = create_detector(backbone, 48, categories, pretrained="none", seed=3)
        detector.decision = Decision(band=(0.45, 0.55))
        save_detector(detector, folder / f"{name}.pt")
    export_onnx(load_detector(folder / "net.pt"), folder / "net.onnx")
    return folder


@pytest.fixture(scope="module")
def service(files):
    models = {name: load_detector(files / f"{name}.pt") for name in ("cnn", "net")}
    return Service(models, {"net": files / "net.pt"})


@pytest.fixture
def store(tmp_path):
    return FeedbackStore(tmp_path / "feedback.db")


@pytest.fixture
def client(service, store):
    app = create_app(service, store, origins=["https://friend.example"], max_bytes=200_000)
    return app.test_client()


def send(client, data, name="photo.png", field="image", **headers):
    form = {field: (io.BytesIO(data), name)}
    return client.post("/predict", data=form, content_type="multipart/form-data", headers=headers)


def test_two_models_and_a_heatmap(client, photo):
    answer = send(client, encoded(photo)).json
    assert [one["model_name"] for one in answer["predictions"]] == ["cnn", "net"]
    for one in answer["predictions"]:
        assert one["label"] == ("fake" if one["p_fake"] >= one["threshold"] else "real")
        assert one["confidence"] == pytest.approx(max(one["p_fake"], 1 - one["p_fake"]))
        unsure = one["band"][0] <= one["p_fake"] < one["band"][1]
        assert one["verdict"] == ("can't tell" if unsure else one["label"])
    assert answer["predictions"][1]["category"] in ("animals", "vehicles")
    surest = max(answer["predictions"], key=lambda one: abs(one["p_fake"] - 0.5))
    assert answer["grad_cam_model_name"] == surest["model_name"]
    assert answer["verdict"] == surest["verdict"]
    for name, channels in (("dynamic_grad_cam", 3), ("heatmap", 4)):
        head, data = answer[name].split(",")
        assert head == "data:image/png;base64"
        picture = np.array(Image.open(io.BytesIO(base64.b64decode(data))))
        assert picture.shape == (72, 96, channels)
    assert (picture[:, :12, 3] == 0).all(), "the detector saw the square in the middle alone"
    assert (picture[:, 12:84, 3] == 255).all()


def test_pictures_are_reduced_and_keep_their_shape(client, photo):
    answer = send(client, encoded(cv2.resize(photo, (1600, 1200)), "JPEG")).json
    for name, shape in (("dynamic_grad_cam", (480, 640, 3)), ("heatmap", (192, 256, 4))):
        picture = np.array(Image.open(io.BytesIO(base64.b64decode(answer[name].split(",")[1]))))
        assert picture.shape == shape
    assert (picture[:, :32] == 0).all()
    assert (picture[:, 32:224, 3] == 255).all()


def test_every_way_of_asking_gives_the_same_answer(client, photo, files, tmp_path, capsys):
    (tmp_path / "photo.png").write_bytes(encoded(photo))
    (_, rest) = send(client, encoded(photo)).json["predictions"]
    for model in ("net.pt", "net.onnx"):
        assert main(["predict", str(tmp_path / "photo.png"), "--model", str(files / model)]) == 0
        assert json.loads(capsys.readouterr().out)["probability"] == pytest.approx(rest["p_fake"], abs=1e-4)


def test_an_onnx_model_is_served_without_a_heatmap(files, store, photo):
    app = create_app(Service({"net": load_detector(files / "net.onnx")}), store)
    answer = send(app.test_client(), encoded(photo)).json
    assert 0 < answer["predictions"][0]["p_fake"] < 1
    assert answer["grad_cam_model_name"] is None
    assert answer["heatmap"] is None


def broken(photo):
    return encoded(photo)[:-300]


@pytest.mark.parametrize(
    ("make", "status", "words"),
    [
        (lambda _: b"", 400, "empty"),
        (lambda _: b"<html>not an image</html>", 415, "not an image"),
        (broken, 422, "damaged"),
        (lambda _: encoded(np.zeros((8000, 8000), np.uint8)), 413, "8000 × 8000 pixels"),
        (lambda _: b"\x89PNG" + bytes(300_000), 413, "larger than"),
    ],
    ids=["empty", "text", "truncated", "pixels", "bytes"],
)
def test_bad_uploads_get_a_sentence(client, photo, make, status, words):
    response = send(client, make(photo), name="<script>alert(1)</script>../../x.png")
    assert response.status_code == status
    assert words in response.json["error"]
    assert "script" not in response.text
    assert send(client, encoded(photo)).status_code == 200, "the server goes on"


def test_the_form_must_hold_one_image(client, photo):
    assert client.post("/predict").status_code == 400
    assert "field `image`" in send(client, encoded(photo), field="file").json["error"]
    many = {"image": [(io.BytesIO(encoded(photo)), f"{i}.png") for i in range(50)]}
    response = client.post("/predict", data=many, content_type="multipart/form-data")
    assert response.status_code in (400, 413)
    assert "error" in response.json


def test_an_animation_is_judged_by_its_first_frame(client, photo):
    frames = [Image.fromarray(photo), Image.fromarray(255 - photo)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    response = send(client, buffer.getvalue())
    assert response.status_code == 200
    assert response.json["notes"] == ["Only the first frame of this animation was judged."]


def test_videos_are_told_by_their_bytes(client, photo, tmp_path):
    for name, code in (("a.avi", "MJPG"), ("a.mp4", "mp4v")):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter_fourcc(*code), 10, photo.shape[1::-1])
        for _ in range(5):
            writer.write(photo[..., ::-1])
        writer.release()
        answer = send(client, (tmp_path / name).read_bytes()).json
        assert answer["video"]
        assert answer["notes"] == [
            "8 frames of this video were judged; the picture is the one in its middle."
        ]
        assert answer["picture"].startswith("data:image/png")
        refused = feed(client, answer, (tmp_path / name).read_bytes(), consent="yes")
        assert (refused.status_code, refused.json["error"][-20:]) == (400, "videos are not kept."[-20:])
    broken = send(client, (tmp_path / "a.mp4").read_bytes()[:60])
    assert broken.status_code == 422
    assert "the video" in broken.json["error"].lower()
    assert str(tmp_path.parent) not in broken.json["error"]
    avif = encoded(photo, "AVIF")
    assert not send(client, avif).json["video"]


def test_pictures_come_along_where_browsers_show_none(client, photo):
    assert send(client, encoded(photo, "TIFF")).json["picture"].startswith("data:image/png")
    assert send(client, encoded(photo)).json["picture"] is None


def test_a_small_image_gets_a_word(client, photo):
    assert "This image is small" in send(client, encoded(photo[:8, :8])).json["notes"][0]


def test_drawn_images_to_try(client):
    examples = client.get("/examples").json["examples"]
    assert [one["label"] for one in examples] == ["real", "fake", "fake", "real", "real", "fake"]
    pictures = [Image.open(io.BytesIO(client.get(f"/examples/{i}.jpg").data)) for i in range(6)]
    assert {picture.size for picture in pictures} == {(128, 128)}
    assert client.get("/examples/6.jpg").status_code == 404


def test_a_card_says_what_is_known(files, store):
    detector = load_detector(files / "net.pt")
    detector.training_digests, detector.validation_digests = np.arange(30), np.arange(10)
    detector.provenance["sources"] = ["photos"]
    app = create_app(Service({"net": detector}), store).test_client()
    (model,) = app.get("/models").json["models"]
    assert "It was trained on 20 images of photos." in model["card"]
    assert model["card"][-1].startswith("How good it is, is not known")
    assert model["sha256"] is None


def test_other_sites_may_not_post(client, photo):
    assert send(client, encoded(photo), Origin="https://evil.example").status_code == 403
    assert send(client, encoded(photo), Origin="null").status_code == 403
    assert send(client, encoded(photo), Origin="http://[").status_code == 403
    ours = send(client, encoded(photo), Origin="http://localhost")
    assert ours.status_code == 200
    assert "Access-Control-Allow-Origin" not in ours.headers
    friend = send(client, encoded(photo), Origin="https://friend.example")
    assert friend.headers["Access-Control-Allow-Origin"] == "https://friend.example"


def test_a_foreign_name_of_this_machine_is_refused(client):
    assert client.get("/models", headers={"Host": "evil.example:8000"}).status_code == 403
    assert "not evil.example" in client.get("/", headers={"Host": "evil.example"}).json["error"]
    assert "needs a Host header" in client.get("/", headers={"Host": "["}).json["error"]
    for name in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000", "friend.example"):
        assert client.get("/health", headers={"Host": name}).status_code == 200, name


def test_pages_and_headers(client):
    for path in ("/", "/dashboard", "/static/app.js", "/static/style.css", "/openapi.json", "/health"):
        response = client.get(path)
        assert response.status_code == 200, path
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert "http://" not in response.text.replace("http://127.0.0.1", "")
    for path in (
        "/nothing",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/models/9/roc.png",
        "/models/1/x.png",
    ):
        response = client.get(path)
        assert response.status_code == 404
        assert response.json["error"]
    assert client.get("/predict").status_code == 405
    assert client.get("/health").json["models"] == ["cnn", "net"]


def test_the_description_covers_every_route(client):
    described = client.get("/openapi.json").json
    rules = {rule.rule for rule in client.application.url_map.iter_rules()}
    pages = {"/", "/dashboard", "/static/<name>", "/openapi.json", "/models/<int:index>/<name>.png"}
    pages.add("/examples/<int:index>.jpg")
    assert set(described["paths"]) == rules - pages
    required = described["components"]["schemas"]["Judgement"]["required"]
    assert "dynamic_grad_cam" in required


def test_reports_of_the_models(client, files):
    report = {
        "metrics": {"test": {"auc": 0.9, "auc_95": [0.8, 0.95], "accuracy": 0.8, "n": 10}},
        "data": {},
        "settings": {"a": 1},
    }
    (files / "metrics.json").write_text(json.dumps(report))
    cv2.imwrite(str(files / "roc.png"), np.zeros((4, 4, 3), np.uint8))
    cnn, net = client.get("/models").json["models"]
    assert cnn["report"] is None
    assert net["report"]["metrics"]["test"]["auc"] == 0.9
    assert net["report"]["figures"] == ["roc"]
    assert net["card"][-1].startswith("On 10 test images that it had never seen it called 80 of 100 right")
    assert "in 90 of 100 pairs" in net["card"][-1]
    assert len(net["sha256"]) == 64
    assert client.get("/models/1/roc.png").mimetype == "image/png"
    assert client.get("/models/0/roc.png").status_code == 404
    (files / "metrics.json").write_text("{half")
    assert client.get("/models").json["models"][1]["report"] is None


def feed(client, answer, data=None, **fields):
    form = {"image_sha256": answer["image_sha256"], "label": "fake", **fields}
    if data is not None:
        form["image"] = (io.BytesIO(data), "x.png")
    return client.post("/feedback", data=form, content_type="multipart/form-data")


def test_feedback_is_kept_and_images_only_with_consent(client, store, photo):
    data = encoded(photo)
    answer = send(client, data).json
    assert feed(client, answer).json == {"stored_image": False}
    assert feed(client, answer, data).status_code == 400
    assert store.summary()["images"] == 0
    assert feed(client, answer, data, consent="yes").status_code == 201
    assert feed(client, answer, encoded(255 - photo), consent="yes").status_code == 400
    assert feed(client, answer, label="perhaps").status_code == 400
    assert feed(client, {"image_sha256": "0" * 64}).status_code == 409
    summary = client.get("/feedback").json
    assert (summary["reports"], summary["images"]) == (1, 1)
    assert set(summary["models"]) == {"cnn", "net"}


def test_many_at_once_get_their_own_answers(client, photo):
    app = client.application
    images = [encoded(np.roll(photo, 7 * i, axis=1)) for i in range(4)]
    alone = [send(client, image).json["predictions"] for image in images]
    together = [None] * 24

    def ask(i):
        together[i] = send(app.test_client(), images[i % 4]).json["predictions"]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(together))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for i, predictions in enumerate(together):
        for one, expected in zip(predictions, alone[i % 4], strict=True):
            assert one["p_fake"] == pytest.approx(expected["p_fake"], abs=1e-4)


def test_a_failure_inside_is_no_traceback_for_the_user(client, service, photo, monkeypatch):
    def fail(_upload):
        raise RuntimeError("secret")

    monkeypatch.setattr(service, "predict", fail)
    response = send(client, encoded(photo))
    assert response.status_code == 500
    assert "secret" not in response.text
    monkeypatch.undo()
    assert send(client, encoded(photo)).status_code == 200


def test_what_cannot_be_served_is_refused():
    with pytest.raises(DfdError, match="name at least one"):
        Service({})
    clips = create_detector("resnet10t", 32, pretrained="none", n_frames=4)
    with pytest.raises(DfdError, match="clips"):
        Service({"clips": clips})


def test_the_pages_name_no_other_host():
    from dfdlib import serve

    for file in (Path(serve.__file__).parent / "pages").iterdir():
        text = file.read_text()
        assert "https://" not in text, file
        assert " style=" not in text, "inline styles are refused by our own policy"
        assert " onclick=" not in text, file


def test_the_demo_detectors_are_trained_once(tmp_path, monkeypatch, store, photo):
    from dfdlib.cli.demo_detectors import demo_detectors

    monkeypatch.setenv("DFD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DFD_CACHE_DIR", str(tmp_path / "cache"))
    files = demo_detectors(120, epochs=1)
    written = {name: file.stat().st_mtime_ns for name, file in files.items()}
    assert demo_detectors(120, epochs=1) == files
    assert {name: file.stat().st_mtime_ns for name, file in files.items()} == written
    service = Service({name: load_detector(file) for name, file in files.items()}, files)
    client = create_app(service, store).test_client()
    notice = client.get("/models").json["notice"]
    assert all(f"{name}: {DRAWN_ALONE}" in notice for name in files)
    assert all("roc" in model["report"]["figures"] for model in client.get("/models").json["models"])
    said = send(client, encoded(photo)).json["predictions"]
    assert len(said) == 2
    for one in said:  # 9 of 60 pairs are for validation
        assert one["n_reals"] == 9
        if not one["verdict"].endswith("trained on"):
            assert 9 * one["reals_as_high"] == pytest.approx(round(9 * one["reals_as_high"]))


def test_each_face_gets_a_verdict_and_its_place(crowd, green_faces, files, store):
    detector = load_detector(files / "net.pt")
    detector.faces = green_faces("all")
    app = create_app(Service({"net": detector}), store).test_client()
    two, one, none = (file.read_bytes() for file in files_of(crowd))
    answer = send(app, two).json
    (said,) = answer["predictions"]
    assert answer["image_size"] == [90, 60]
    assert [face["square"] for face in said["faces"]] == [[44, 12, 32], [1, 2, 16]]
    worst = max(said["faces"], key=lambda face: face["p_fake"])
    assert (said["p_fake"], said["verdict"]) == (worst["p_fake"], worst["verdict"])
    heat = np.array(Image.open(io.BytesIO(base64.b64decode(answer["heatmap"].split(",")[1]))))
    left, top, side = worst["square"]
    assert (heat[..., 3] > 0).sum() == side**2
    assert (heat[top : top + side, left : left + side, 3] == 255).all()
    assert len(send(app, one).json["predictions"][0]["faces"]) == 1
    refused = send(app, none)
    assert refused.status_code == 422
    assert refused.json["error"] == "The image shows no face that can be found."
    detector.faces = green_faces("whole")
    app = create_app(Service({"net": detector}), store).test_client()
    assert send(app, none).json["predictions"][0]["faces"] == []
