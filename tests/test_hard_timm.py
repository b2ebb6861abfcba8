"""Every family of timm: a small model is built or refused in a sentence, trained, loaded, explained and exported.

`python tests/test_hard_timm.py` writes the table of what happened to docs/timm.md.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch

from dfdlib import DfdError, create_detector, fit, load_detector
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.scan import scan_images
from dfdlib.explain.heatmaps import explain_images
from dfdlib.models.forward import judge
from dfdlib.models.onnx import export_onnx, load_onnx
from dfdlib.training.settings import TrainConfig

pytestmark = [pytest.mark.hard, pytest.mark.filterwarnings("ignore")]

LARGEST = 31e6
SIZES = (64, 224)
SMALLEST = {
    "beit": "beit_base_patch16_224",
    "byoanet": "halonet_h1",
    "byobnet": "mobileone_s1",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "convnext_atto_rms",
    "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240",
    "csatv2": "csatv2",
    "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deepseek_vit": "deepseek_vit_412m",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla46x_c",
    "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "mobilenetv2_035",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "vit_tiny_patch16_dinov3_qkvb",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "gemma4_vit": "gemma4_vit_167m",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s",
    "lowformer": "lowformer_b0",
    "mambaout": "mambaout_femto",
    "maxxvit": "maxvit_pico_rw_256",
    "metaformer": "poolformerv2_s12",
    "mlp_mixer": "gmlp_ti16_224",
    "mobilenetv3": "lcnet_035",
    "mobilenetv5": "mobilenetv5_base",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_gap",
    "nasnet": "nasnetalarge",
    "nest": "nest_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "nf_regnet_b0",
    "pit": "pit_ti_224",
    "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0",
    "qwen3_vit": "qwen3_vit_88m",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m1",
    "res2net": "res2next50",
    "resnest": "resnest14d",
    "resnet": "resnet18",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window16_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_legacy_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "vgg": "vgg11",
    "visformer": "visformer_tiny",
    "vision_transformer": "vit_tiny_patch16_224",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "vit_srelpos_small_patch16_224",
    "vision_transformer_sam": "samvit_base_patch16_224",
    "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception",
    "xception_aligned": "xception41p",
    "xcit": "xcit_nano_12_p8_224",
}
"""A small model of each family, by the name of timm's module."""


def n_parameters(name):
    with torch.device("meta"):
        return sum(weight.numel() for weight in timm.create_model(name, num_classes=0).parameters())


def eight_images(folder, size):
    """Return noise under real/ and fake/, half of it for training."""
    rng = np.random.default_rng(0)
    for label in ("real", "fake"):
        (folder / label).mkdir(parents=True)
        for i in range(4):
            noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            image = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / label / f"{i}.png"), image)
    manifest = scan_images(folder)
    order = manifest.groupby("label").cumcount()
    return ImageDataset(manifest.assign(split=np.where(order < 2, "train", "val")), size)


def examine(name, size, folder, export):
    """Return what happens to a model at a size, as a sentence; anything but a refusal in one raises."""
    try:
        detector = create_detector(name, size, pretrained="none")
    except DfdError as error:
        return f"refused: {error}"
    images = eight_images(folder / "images", size)
    config = TrainConfig(epochs=1, batch_size=4, augment="none", precision="fp32")
    fit(detector, images.split("train"), images.split("val"), config, folder)
    loaded, pixels = load_detector(folder / "best_model.pt"), images.batch(range(4))["image"]
    # Not to the bit: training has laid the weights of convolutions out in another order in memory.
    assert torch.allclose(judge(loaded, pixels).fake, judge(detector, pixels).fake, atol=1e-5)
    done = ["trained, loaded", explained(loaded, pixels)]
    if export:
        done.append(exported(loaded, pixels, folder / "graph.onnx"))
    return "; ".join(done)


def explained(detector, pixels):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        maps = [explain_images(detector, pixels, target).heatmap for target in ("fake", "real")]
    if np.max(maps, axis=0).max((1, 2)).all():  # what is no evidence of the one is evidence of the other
        return "explained"
    assert any("heatmaps are empty" in str(warning.message) for warning in said)
    return "empty heatmaps, with a warning"


def exported(detector, pixels, file):
    try:
        export_onnx(detector, file)
    except DfdError as error:
        return f"not exported: {error}"
    ours, theirs = judge(detector, pixels).fake, judge(load_onnx(file), pixels).fake
    assert torch.allclose(ours, theirs, atol=1e-3)
    return "exported"


def family(name, folder):
    """Return what happens to a family's model at each size; it is exported at the first that it takes."""
    millions = n_parameters(name) / 1e6
    if millions * 1e6 > LARGEST:
        return [f"left out: the smallest has {millions:.0f} M parameters"] * len(SIZES)
    found = []
    for size in SIZES:
        export = not any("trained" in one for one in found)
        found.append(examine(name, size, folder / str(size), export))
    return found


def test_every_family_is_examined():
    assert {name for name in timm.list_modules() if timm.list_models(module=name)} <= set(SMALLEST)


@pytest.mark.parametrize("module", [name for name in SMALLEST if name in timm.list_modules()])
def test_a_model_of_each_family_works_or_is_refused(module, tmp_path):
    for found in family(SMALLEST[module], tmp_path):
        assert found.startswith(("trained", "refused", "left out"))


def main(file):
    """Write the table; what crashes is named in it."""
    lines = [
        "# Families of timm",
        "",
        f"A small model of each, with random weights, at {SIZES[0]} and {SIZES[1]} px: one training step, the file saved",
        "and loaded, Grad-CAM for `fake` and `real`, and the export to ONNX at the first size that it takes. Written by",
        f"`python tests/test_hard_timm.py` with timm {timm.__version__} and PyTorch {torch.__version__.split('+')[0]}.",
        "",
        f"| family | model | {SIZES[0]} px | {SIZES[1]} px |",
        "|---|---|---|---|",
    ]
    for module, name in SMALLEST.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = family(name, Path(folder))
            except Exception as error:
                found = [f"CRASHED: {type(error).__name__}: {' '.join(str(error).split())[:200]}", ""]
        lines.append(f"| {module} | {name} | {' | '.join(found)} |")
        print(lines[-1], flush=True)
    Path(file).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:] or [Path(__file__).parents[1] / "docs" / "timm.md"])
