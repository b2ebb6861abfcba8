"""The table of layouts in docs/layouts.md, row by row."""

import json
from pathlib import Path

import pandas as pd
import pytest

from dfdlib.core.errors import DfdError
from dfdlib.data.scan import scan_images

DOCS = Path(__file__).parents[2] / "docs" / "layouts.md"
SPLITS = ("train", "val")


def four(*folders):
    return [f"{folder}/{i}.png" for folder in folders for i in range(4)]


def frames(*videos):
    return [f"{video}/{i:04}.png" for video in videos for i in range(3)]


# Files; what is written beside them; for some path its label, generator, category and split; and paths of one group.
ROWS = {
    "your own": (
        four("train/real/boats", "train/fake/boats", "val/real/boats", "val/fake/boats"),
        {},
        {"val/fake/boats/0.png": ("fake", None, "boats", "val")},
        [],
    ),
    "ArtiFact": (
        four("afhq/cat", "stylegan2/cat"),
        {
            f"{name}/metadata.csv": "filename,image_path,target,category\n"
            + "".join(f"{i}.png,cat/{i}.png,{target},Cat\n" for i in range(4))
            for name, target in (("afhq", 0), ("stylegan2", 6))
        },
        {
            "afhq/cat/0.png": ("real", None, "cat", None),
            "stylegan2/cat/1.png": ("fake", "stylegan2", "cat", None),
        },
        [],
    ),
    "ArtiFact_240K": (
        four(*(f"{s}/{one}/animals" for s in ("train", "validation") for one in ("real", "fake")), "test"),
        {},
        {
            "validation/fake/animals/0.png": ("fake", None, "animals", "val"),
            "test/0.png": (None, None, None, "test"),
        },
        [],
    ),
    "GenImage": (
        four(
            *(
                f"{g}/{inner}/{s}/{one}"
                for g, inner in (("Midjourney", "imagenet_midjourney"), ("ADM", "imagenet_ai_0508_adm"))
                for s in SPLITS
                for one in ("ai", "nature")
            )
        ),
        {},
        {
            "ADM/imagenet_ai_0508_adm/val/ai/0.png": ("fake", "ADM", None, "val"),
            "Midjourney/imagenet_midjourney/train/nature/0.png": ("real", None, None, "train"),
        },
        [],
    ),
    "CIFAKE": (
        [
            f"{s}/{one}/{i:04} ({k}).png"
            for s in ("train", "test")
            for one in ("REAL", "FAKE")
            for i in range(3)
            for k in (2, 3)
        ],
        {},
        {"test/FAKE/0000 (2).png": ("fake", None, None, "test")},
        [],
    ),
    "140k real and fake faces": (
        four(
            *(
                f"real_vs_fake/real-vs-fake/{s}/{one}"
                for s in ("train", "valid", "test")
                for one in ("real", "fake")
            )
        ),
        {},
        {"real_vs_fake/real-vs-fake/valid/fake/0.png": ("fake", None, None, "val")},
        [],
    ),
    "deepfake and real images": (
        four(*(f"Dataset/{s}/{one}" for s in ("Train", "Validation", "Test") for one in ("Real", "Fake"))),
        {},
        {"Dataset/Validation/Real/0.png": ("real", None, None, "val")},
        [],
    ),
    "FaceForensics++": (
        frames(
            *(f"original_sequences/youtube/c23/frames/{i:03}" for i in range(6)),
            *(f"manipulated_sequences/Face2Face/c23/frames/{p}" for p in ("000_003", "001_002", "004_005")),
        ),
        {
            f"splits/{s}.json": json.dumps(ids)
            for s, ids in zip(
                ("train", "val", "test"), ([["000", "003"]], [["001", "002"]], [["004", "005"]]), strict=True
            )
        },
        {
            "manipulated_sequences/Face2Face/c23/frames/001_002/0000.png": ("fake", "Face2Face", None, "val"),
            "original_sequences/youtube/c23/frames/003/0001.png": ("real", None, None, "train"),
        },
        [
            "manipulated_sequences/Face2Face/c23/frames/000_003/0000.png",
            "original_sequences/youtube/c23/frames/003/0001.png",
            "original_sequences/youtube/c23/frames/000/0002.png",
        ],
    ),
    "Celeb-DF": (
        frames(
            "Celeb-real/id1_0000", "Celeb-real/id5_0002", "YouTube-real/00170", "Celeb-synthesis/id1_id5_0000"
        ),
        {},
        {
            "Celeb-synthesis/id1_id5_0000/0000.png": ("fake", None, None, None),
            "YouTube-real/00170/0000.png": ("real", None, None, None),
        },
        [
            "Celeb-real/id1_0000/0000.png",
            "Celeb-real/id5_0002/0000.png",
            "Celeb-synthesis/id1_id5_0000/0001.png",
        ],
    ),
    "DFDC": (
        frames(
            *(
                f"{one}/{name}"
                for one, names in {
                    "real": ("aapnvogymq", "abarnvbtwb", "abofeumbvv", "abqwwspghj", "acifjvzvpm"),
                    "fake": ("aassnaulhq", "aayfryxljh", "acazlolrpz", "adohikbdaz", "adylbeequz"),
                }.items()
                for name in names
            )
        ),
        {"metadata.json": json.dumps({"aassnaulhq.mp4": {"label": "FAKE", "original": "aapnvogymq.mp4"}})},
        {"fake/aayfryxljh/0000.png": ("fake", None, None, None)},
        ["fake/aassnaulhq/0000.png", "real/aapnvogymq/0001.png"],
    ),
    "DeeperForensics": (
        frames("real/000", "real/001", "fake/end_to_end/000_M101", "fake/end_to_end/001_W002"),
        {},
        {"fake/end_to_end/000_M101/0000.png": ("fake", "end_to_end", None, None)},
        ["real/000/0000.png", "fake/end_to_end/000_M101/0001.png"],
    ),
    "WildDeepfake": (
        frames(
            *(
                f"{one}_{s}/{v}/{q}"
                for one in ("real", "fake")
                for s in ("train", "test")
                for v in (11, 12)
                for q in (103, 104)
            )
        ),
        {},
        {"fake_test/11/103/0000.png": ("fake", None, None, "test")},
        ["fake_train/11/103/0000.png", "fake_train/11/104/0000.png"],
    ),
    "ForenSynths (CNNDetection)": (
        four(
            *(
                f"{g}/{c}/{one}"
                for g in ("progan", "stylegan")
                for c in ("cat", "car")
                for one in ("0_real", "1_fake")
            )
        ),
        {},
        {
            "stylegan/car/1_fake/0.png": ("fake", "stylegan", "car", None),
            "progan/cat/0_real/0.png": ("real", None, "cat", None),
        },
        [],
    ),
    "UniversalFakeDetect": (
        four("dalle/1_fake", "glide_100_10/1_fake", "laion/0_real", "imagenet/0_real"),
        {},
        {
            "glide_100_10/1_fake/0.png": ("fake", "glide_100_10", None, None),
            "laion/0_real/0.png": ("real", None, None, None),
        },
        [],
    ),
}
REFUSED = {
    "DF40": (
        frames("simswap/ff/frames/000_003", "e4s/cdf/frames/id1_id2_0001"),
        "does not tell real from fake",
    ),
    "DiffusionForensics": (
        four(*(f"train/lsun_bedroom/{one}" for one in ("real", "adm"))),
        r'has a \'real\' folder but no \'fake\' one .* pass labels=\{"adm": "fake"\}',
    ),
}


def write(root, beside):
    for name, text in beside.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize("name", ROWS)
def test_a_layout_is_read(name, write_images):
    files, beside, expected, together = ROWS[name]
    root = write_images(files)
    write(root, beside)
    manifest = scan_images(root).set_index("path")
    assert sorted(manifest.index) == sorted(files)
    for path, stated in expected.items():
        row = manifest.loc[path, ["label", "generator", "category", "split"]]
        assert tuple(row.astype(object).where(row.notna(), None)) == stated, path
    if together:
        assert manifest.loc[together, "group"].nunique() == 1
    else:
        assert manifest["group"].is_unique
    assert pd.notna(manifest["group"]).all()


@pytest.mark.parametrize("name", REFUSED)
def test_a_layout_without_labels_is_refused_with_what_to_pass(name, write_images):
    files, message = REFUSED[name]
    with pytest.raises(DfdError, match=message):
        scan_images(write_images(files))


def test_every_row_of_the_table_is_tried():
    rows = [
        line.split("|")[1].strip()
        for line in DOCS.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    assert rows == ["data set", *ROWS, *REFUSED]
