"""Views of an image: what they show, and that their logits are averaged."""

import pytest
import torch

from dfdlib import DfdError, create_detector
from dfdlib.models.detector import Detector
from dfdlib.models.forward import VIEWS, judge, views_of
from dfdlib.models.networks import Logits


@pytest.fixture
def images():
    ramp = torch.arange(32).expand(32, 32) * 7
    return torch.stack([ramp, ramp.T, torch.full((32, 32), 200)]).to(torch.uint8)[None]


def values(images):
    return images.float() / 255 if images.dtype == torch.uint8 else images


@pytest.mark.parametrize("name", VIEWS)
def test_views_keep_size_and_range_and_change_the_image(images, name):
    view = values(VIEWS[name](images))
    assert view.shape == images.shape
    assert view.min() >= 0
    assert view.max() <= 1 + 1e-6
    assert not torch.allclose(view, values(images))
    assert torch.allclose(view[:, 2], values(images)[:, 2], atol=1e-5), "a flat colour stays"


def test_crop_enlarges_and_shrink_reduces(images):
    ramp = values(images)[0, 0, 16]
    slope = (ramp[20] - ramp[12]).item()
    cropped, shrunk = (values(VIEWS[name](images))[0, 0, 16] for name in ("crop", "shrink"))
    assert (cropped[20] - cropped[12]).item() == pytest.approx(slope * 28 / 32, rel=0.02)
    assert (shrunk[20] - shrunk[12]).item() == pytest.approx(slope * 32 / 28, rel=0.02)


@pytest.mark.parametrize("shape", [(4, 3, 32, 32), (2, 3, 3, 32, 32)])
def test_logits_of_the_views_are_averaged(shape):
    detector = create_detector("resnet10t", 32, ("a", "b"), pretrained="none", n_frames=3 * (len(shape) == 5))
    batch = torch.randint(0, 256, shape, dtype=torch.uint8)
    flipped = [judge(detector, batch), judge(detector, batch.flip(-1))]
    together = judge(detector, batch, ("flip",))
    assert torch.allclose(together.fake, (flipped[0].fake + flipped[1].fake) / 2, atol=1e-6)
    assert torch.allclose(together.category, (flipped[0].category + flipped[1].category) / 2, atol=1e-6)


def test_how_unlike_an_image_is_does_not_depend_on_views(images):
    class Graph(torch.nn.Module):
        def forward(self, batch):
            values = batch.float().mean((1, 2, 3))
            return Logits(values, None, batch[:, 0, 0, 0].float())

    detector = Detector(Graph(), "onnx", {}, 32)
    plain, viewed = (judge(detector, images, views, novelty=True) for views in ((), ("flip",)))
    assert torch.equal(plain.novelty, viewed.novelty)


def test_names_in_a_text():
    assert views_of("") == []
    assert views_of("flip, crop") == ["flip", "crop"]
    with pytest.raises(DfdError, match="did you mean `flip`"):
        views_of("flop")
