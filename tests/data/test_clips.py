"""Demo clips and clips as tensors: order tells, nothing else does, and the training loop takes them."""

import cv2
import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError, create_detector, fit, load_detector, predict
from dfdlib.data.clips import ClipDataset
from dfdlib.data.loader import make_loader
from dfdlib.data.manifest import files_of
from dfdlib.demo.clips import demo_clips
from dfdlib.evaluation import metrics
from dfdlib.evaluation.tables import video_level
from dfdlib.images.video import read_frames
from dfdlib.training.settings import TrainConfig


@pytest.fixture(scope="session")
def clips_manifest(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFD_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        return demo_clips(n_clips=80, size=32, n_frames=8)


@pytest.fixture
def clips(clips_manifest):
    return ClipDataset(clips_manifest, 32, 8)


def test_a_pair_is_a_group_and_no_file_size_tells(clips_manifest):
    assert len(clips_manifest) == 80
    assert (clips_manifest.groupby("group")["label"].nunique() == 2).all()
    sizes = clips_manifest.assign(size=[file.stat().st_size for file in files_of(clips_manifest)])
    assert (sizes.groupby("group")["size"].nunique() == 1).all()
    assert len(read_frames(files_of(clips_manifest)[0], 8).images) == 8


def test_order_tells_and_its_absence_does_not(clips):
    pixels = np.stack([clips._pixels[row] for row in clips._rows]).astype(float)
    middle = pixels[:, :, 8:24, 8:24]
    change = np.abs(np.diff(middle, axis=1)).mean((1, 2, 3, 4))
    truth = clips.fake.numpy()
    pairs = clips.manifest.assign(change=change).pivot(index="group", columns="label", values="change")
    assert (pairs["fake"] > pairs["real"]).mean() >= 0.9
    light = middle.mean((2, 3, 4))
    for blind in (light.mean(1), light.std(1), np.sort(light, 1)[:, 0], middle.std((2, 3, 4)).mean(1)):
        assert 0.38 < metrics.auc(truth, blind) < 0.62


def test_batches_have_frames(clips):
    batch = next(iter(make_loader(clips, 5)))
    assert batch["image"].shape == (5, 8, 3, 32, 32)
    frames = read_frames(files_of(clips.manifest)[2], 8).images
    assert np.array_equal(batch["image"][2].permute(0, 2, 3, 1), frames)


def test_single_frames_are_those_of_the_clips(clips):
    part = clips.split("val")
    frames = part.frames()
    assert len(frames) == 8 * len(part)
    assert list(frames.manifest["frame"][:9]) == [*range(8), 0]
    assert frames.manifest["video"].nunique() == len(part)
    one = frames.batch([10])["image"][0]
    assert np.array_equal(one, part.batch([1])["image"][0, 2])
    assert frames.fake[10] == part.fake[1]
    assert len(frames.split("val")) == len(frames)


def test_the_training_loop_takes_clips(clips, tmp_path):
    detector = create_detector("resnet10t", 32, pretrained="none", n_frames=8, hidden=16, layers=1)
    config = TrainConfig(epochs=2, batch_size=8, colour_jitter=0.1, precision="fp32", learning_rate=3e-3)
    history = fit(detector, clips.split("train"), clips.split("val"), config, tmp_path)
    assert np.isfinite(history["val_auc"]).all()
    loaded = load_detector(tmp_path / "best_model.pt")
    assert loaded.n_frames == 8
    table = predict(loaded, clips.split("test"), batch_size=8)
    assert len(table) == len(clips.split("test"))


def test_broken_videos_are_listed(clips_manifest, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "good.mp4").write_bytes(files_of(clips_manifest)[0].read_bytes())
    manifest = pd.DataFrame({"path": ["broken.mp4", "good.mp4"], "label": "real", "group": ["a", "b"]})
    manifest[["category", "split", "generator"]] = None
    clips = ClipDataset(manifest.assign(root=str(tmp_path)), 32, 4)
    assert list(clips.unreadable["path"]) == ["broken.mp4"]
    assert len(clips) == 1


def test_clips_are_cropped_to_the_face(green_faces, tmp_path):
    for clip, box in (("a", (8, 12)), ("b", None)):
        (tmp_path / clip).mkdir()
        for i in range(4):
            frame = np.random.default_rng(i).integers(0, 200, (48, 60, 3)).astype(np.uint8)
            if box:
                frame[box[1] : box[1] + 10, box[0] : box[0] + 10] = (0, 255, 0)
            cv2.imwrite(str(tmp_path / clip / f"{i}.png"), frame)
    part = pd.DataFrame({"path": ["a", "b"], "label": "real", "group": ["a", "b"], "root": str(tmp_path)})
    part[["category", "split", "generator"]] = None
    crops = ClipDataset(part, (32, "bilinear", green_faces()), 4)
    assert list(crops.unreadable["path"]) == ["b"]
    assert "shows no face" in crops.unreadable["error"][0]
    assert (crops.batch([0])["image"][0, :, 1, 12:20, 12:20] == 255).all()
    assert len(ClipDataset(part, (32, "bilinear", green_faces("whole")), 4)) == 2
    with pytest.raises(DfdError, match=r"none of the 1 clips can be read.*shows no face"):
        ClipDataset(part.iloc[1:], (32, "bilinear", green_faces()), 4)


def test_frames_make_videos(clips):
    part = clips.split("val")
    detector = create_detector("resnet10t", 32, pretrained="none")
    frames = predict(detector, part.frames())
    videos = video_level(frames)
    assert list(videos["path"]) == list(part.manifest["path"])
    assert list(videos["label"]) == list(part.manifest["label"])
    assert videos["logit"].iloc[1] == pytest.approx(frames["logit"].iloc[8:16].mean())
    assert set(videos["threshold"]) == {detector.decision.threshold}
