"""The table of `docs/layouts.md`: each data set's layout, made small, is read right; and no source crosses a split."""

import itertools
import json
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError
from dfdlib.cli.app import main
from dfdlib.data.groups import crossing, grouping, tie
from dfdlib.data.scan import has_videos, open_data, scan_images, scan_videos
from dfdlib.data.splits import FRACTIONS, assert_disjoint, assign_splits, kfold

ROOT = Path(__file__).parents[2]
FF = "FF++/manipulated_sequences/Deepfakes/c23/videos", "FF++/original_sequences/youtube/c23/videos"
FRAMES = tuple(folder.replace("videos", "frames") for folder in FF)


def touch(root, files):
    """Write empty files, or those whose content is given."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(files[name] if isinstance(files, dict) else "")
    return root


def rows(manifest):
    """Return label, category, generator, split and sources of each path; None for what is missing."""
    table = manifest.reindex(columns=["label", "category", "generator", "split", "sources"]).astype(object)
    return dict(
        zip(
            manifest["path"], table.where(table.notna(), None).itertuples(index=False, name=None), strict=True
        )
    )


# By data set: the function that reads it, its files, and of some of them label, category, generator, split, sources.
LAYOUTS = {
    "ArtiFact": (
        scan_images,
        {
            "stylegan2/metadata.csv": "filename,image_path,target,category\n1.jpg,cat/1.jpg,6,cat\n",
            "coco/metadata.csv": "filename,image_path,target,category\n1.jpg,coco/x/1.jpg,0,cat\n",
            "stylegan2/cat/1.jpg": "",
            "coco/x/1.jpg": "",
        },
        {
            "stylegan2/cat/1.jpg": ("fake", "cat", "stylegan2", None, None),
            "coco/x/1.jpg": ("real", "cat", None, None, None),
        },
    ),
    "GenImage": (
        scan_images,
        [
            f"{folder}/{split}/{label}/{i}.png"
            for folder in ("Midjourney/imagenet_midjourney", "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5")
            for split, label, i in itertools.product(("train", "val"), ("ai", "nature"), range(3))
        ],
        {
            "Midjourney/imagenet_midjourney/train/ai/0.png": ("fake", None, "Midjourney", "train", None),
            "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5/val/nature/1.png": (
                "real",
                None,
                None,
                "val",
                None,
            ),
        },
    ),
    "CIFAKE": (
        scan_images,
        [
            f"{split}/{label}/000{i} ({i}).jpg"
            for split in ("train", "test")
            for label in ("REAL", "FAKE")
            for i in (2, 3)
        ],
        {"test/FAKE/0002 (2).jpg": ("fake", None, None, "test", None)},
    ),
    "140k Real and Fake Faces": (
        scan_images,
        [
            f"real_vs_fake/real-vs-fake/{split}/{label}/{i:05d}.jpg"
            for split, label, i in itertools.product(("train", "valid", "test"), ("real", "fake"), range(3))
        ],
        {"real_vs_fake/real-vs-fake/valid/fake/00001.jpg": ("fake", None, None, "val", None)},
    ),
    "Deepfake and real images": (
        scan_images,
        [
            f"Dataset/{split}/{label}/{label.lower()}_{i}.jpg"
            for split, label, i in itertools.product(
                ("Train", "Validation", "Test"), ("Real", "Fake"), range(3)
            )
        ],
        {"Dataset/Validation/Real/real_1.jpg": ("real", None, None, "val", None)},
    ),
    "FaceForensics++": (
        scan_videos,
        {
            f"{FF[0]}/000_003.mp4": "",
            f"{FF[0]}/003_000.mp4": "",
            f"{FF[1]}/000.mp4": "",
            f"{FF[1]}/003.mp4": "",
            f"{FF[0]}/010_012.mp4": "",
            f"{FF[1]}/010.mp4": "",
            "FF++/splits/train.json": '[["000", "003"]]',
            "FF++/splits/val.json": '[["012", "010"]]',
        },
        {
            f"{FF[0]}/000_003.mp4": ("fake", None, "Deepfakes", "train", "000/003"),
            f"{FF[1]}/010.mp4": ("real", None, None, "val", "010"),
        },
    ),
    "FaceForensics++ as frames": (
        scan_images,
        [f"{FRAMES[0]}/000_003/{i:04d}.png" for i in range(2)]
        + [f"{FRAMES[1]}/{v}/0001.png" for v in ("000", "003")],
        {
            f"{FRAMES[0]}/000_003/0001.png": ("fake", None, "Deepfakes", None, "000/003"),
            f"{FRAMES[1]}/003/0001.png": ("real", None, None, None, "003"),
        },
    ),
    "Celeb-DF": (
        scan_videos,
        {
            "Celeb-real/id1_0000.mp4": "",
            "Celeb-synthesis/id1_id5_0003.mp4": "",
            "YouTube-real/00170.mp4": "",
            "List_of_testing_videos.txt": "1 YouTube-real/00170.mp4\n",
        },
        {
            "Celeb-real/id1_0000.mp4": ("real", None, None, "train", "id1"),
            "Celeb-synthesis/id1_id5_0003.mp4": ("fake", None, None, "train", "id1/id5"),
            "YouTube-real/00170.mp4": ("real", None, None, "test", None),
        },
    ),
    "DFDC": (
        scan_videos,
        {
            "dfdc_train_part_0/metadata.json": json.dumps(
                {
                    "aagfhgtpmv.mp4": {"label": "FAKE", "split": "train", "original": "vudstovrck.mp4"},
                    "vudstovrck.mp4": {"label": "REAL", "split": "train"},
                }
            ),
            "dfdc_train_part_0/aagfhgtpmv.mp4": "",
            "dfdc_train_part_0/vudstovrck.mp4": "",
        },
        {
            "dfdc_train_part_0/aagfhgtpmv.mp4": ("fake", None, None, None, "aagfhgtpmv/vudstovrck"),
            "dfdc_train_part_0/vudstovrck.mp4": ("real", None, None, None, "vudstovrck"),
        },
    ),
    "DFDC as frames": (
        scan_images,
        [
            f"{video}/{i}.png"
            for video in ("fake/rdxcpturxy", "fake/gguucqmqjg", "real/kdrznwkxtf", "real/ubqizrbzvg")
            for i in range(3)
        ],
        {"fake/rdxcpturxy/1.png": ("fake", None, None, None, "rdxcpturxy")},
    ),
    "DF40": (
        scan_images,
        [
            "fake/blendface/ff/frames/000_003/001.png",
            "fake/simswap/cdf/frames/id0_id1_0000/001.png",
            "real/ff/000/001.png",
            "real/cdf/id1_0000/001.png",
        ],
        {
            "fake/blendface/ff/frames/000_003/001.png": ("fake", None, "blendface", None, "000/003"),
            "fake/simswap/cdf/frames/id0_id1_0000/001.png": ("fake", None, "simswap", None, "id0/id1"),
            "real/cdf/id1_0000/001.png": ("real", None, None, None, "id1"),
        },
    ),
    "DeeperForensics-1.0": (
        scan_videos,
        {
            "manipulated_videos/end_to_end/000_M101.mp4": "",
            "manipulated_videos/end_to_end/001_W004.mp4": "",
            "original_sequences/youtube/c23/videos/000.mp4": "",
            "original_sequences/youtube/c23/videos/001.mp4": "",
            "lists/splits/train.txt": "000_M101.mp4\n",
            "lists/splits/val.txt": "001_W004.mp4\n",
        },
        {
            "manipulated_videos/end_to_end/000_M101.mp4": ("fake", None, "end_to_end", "train", "000/M101"),
            "original_sequences/youtube/c23/videos/001.mp4": ("real", None, None, "val", "001"),
        },
    ),
    "WildDeepfake": (
        scan_images,
        [
            f"{label}_{split}/12/{label}/3/{i}.png"
            for label in ("real", "fake")
            for split in ("train", "test")
            for i in "12"
        ],
        {"fake_test/12/fake/3/1.png": ("fake", None, None, "test", "12")},
    ),
    "ForenSynths, CNNDetection": (
        scan_images,
        [
            f"{split}/{kind}/{label}/1.png"
            for split in ("train", "val")
            for kind in ("car", "cat")
            for label in ("0_real", "1_fake")
        ]
        + [
            f"test/{kind}/{label}/1.png"
            for kind in ("progan/car", "progan/cat", "biggan")
            for label in ("0_real", "1_fake")
        ],
        {
            "train/car/1_fake/1.png": ("fake", "car", None, "train", None),
            "test/progan/cat/1_fake/1.png": ("fake", "cat", "progan", "test", None),
            "test/biggan/1_fake/1.png": ("fake", None, "biggan", "test", None),
        },
    ),
    "UniversalFakeDetect": (
        scan_images,
        ["dalle/1_fake/0.png", "ldm_200/1_fake/0.png", "imagenet/0_real/0.png", "laion/0_real/0.png"],
        {
            "ldm_200/1_fake/0.png": ("fake", None, "ldm_200", None, None),
            "laion/0_real/0.png": ("real", None, None, None, None),
        },
    ),
    "DiffusionForensics": (
        lambda root: scan_images(root, {"adm": "fake", "ddpm": "fake"}),
        [
            f"images/test/{kind}/{name}/{i}.png"
            for kind, name, i in itertools.product(
                ("lsun_bedroom", "imagenet"), ("real", "adm", "ddpm"), range(2)
            )
        ],
        {
            "images/test/lsun_bedroom/adm/1.png": ("fake", "lsun_bedroom", "adm", "test", None),
            "images/test/imagenet/real/1.png": ("real", "imagenet", None, "test", None),
        },
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_of_the_table_is_read_right(name, tmp_path):
    scan, files, expected = LAYOUTS[name]
    found = rows(scan(touch(tmp_path / "data", files)))
    assert {path: found[path] for path in expected} == expected
    assert len(found) == sum(not file.endswith(("json", "csv", "txt")) for file in files)


def test_the_table_in_the_docs_names_every_layout():
    text = (ROOT / "docs" / "layouts.md").read_text()
    missing = [name for name in LAYOUTS if f"| {name.removesuffix(' as frames')} |" not in text]
    assert not missing


def test_fakes_whose_folders_say_no_label_are_refused_with_what_to_pass(tmp_path):
    touch(
        tmp_path,
        [f"images/train/lsun_bedroom/{name}/{i}.png" for name in ("real", "adm", "ddpm") for i in range(2)],
    )
    with pytest.raises(DfdError, match=r'pass labels=\{"adm": "fake", "ddpm": "fake"\}'):
        scan_images(tmp_path)


def test_a_category_has_one_name_however_it_is_written(tmp_path):
    touch(
        tmp_path,
        [
            f"{folder}/{i}.png"
            for folder in ("real/Animals", "fake/animals", "real/Cars", "fake/Cars")
            for i in range(3)
        ],
    )
    found = scan_images(tmp_path)
    assert set(zip(found["label"], found["category"], strict=True)) == {
        (label, category) for label in ("real", "fake") for category in ("animals", "Cars")
    }


def test_numbers_from_0_on_are_categories(tmp_path):
    touch(
        tmp_path,
        [f"{label}/{number}/{i}.png" for label in ("real", "fake") for number in range(12) for i in range(2)],
    )
    found = scan_images(tmp_path)
    assert set(found["category"]) == {str(number) for number in range(12)}
    assert "12 folders called by a number" in grouping(found)[-2]


def test_generators_of_numbered_images_are_no_videos(tmp_path):
    touch(tmp_path, [f"fake/{name}/{i}.png" for name in ("mine", "yours") for i in range(3)] + ["real/1.png"])
    assert set(scan_images(tmp_path)["generator"].dropna()) == {"mine", "yours"}
    touch(tmp_path, [f"real/000_{k}/{i}.png" for k in range(3) for i in range(3)])
    assert scan_images(tmp_path)["generator"].isna().all()


def test_files_of_the_system_break_no_clip(tmp_path):
    clips = [f"{label}/vid_{i:03d}" for label in ("real", "fake") for i in range(4)]
    junk = ("Thumbs.db", ".DS_Store", "desktop.ini", "._0.png")
    touch(tmp_path, [f"{clip}/{name}" for clip in clips for name in ("0.png", "1.png", *junk)])
    assert sorted(scan_videos(tmp_path)["path"]) == sorted(clips)


def test_images_beside_clips_are_left_out_aloud_and_categories_are_no_clips(tmp_path):
    touch(
        tmp_path,
        [
            f"{label}/{name}/{i}.png"
            for label in ("real", "fake")
            for name in ("animals", "cars")
            for i in range(3)
        ],
    )
    assert not has_videos(tmp_path)
    touch(tmp_path, ["real/a.mp4", "fake/b.mp4"])
    with pytest.warns(UserWarning, match="12 images in .* are no frames of a video, and are left out"):
        assert len(scan_videos(tmp_path)) == 2
    with pytest.warns(UserWarning, match="2 × video"):
        assert len(scan_images(tmp_path)) == 12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scan_images(tmp_path, require_labels=False)


def test_masks_beside_videos_are_no_fakes(tmp_path):
    masks = [
        f"{folder.replace(kind, 'masks')}/000_003/0001.png"
        for folder, kind in ((FRAMES[0], "frames"), (FF[0], "c23"))
    ]
    touch(tmp_path, [f"{FRAMES[0]}/000_003/0001.png", f"{FRAMES[1]}/000/0001.png", *masks])
    with pytest.warns(UserWarning, match="2 × folder of masks"):
        assert len(scan_images(tmp_path)) == 2


def test_a_list_that_leaves_one_label_is_refused_for_that_reason(tmp_path):
    files = (
        "Celeb-real/id0_0000",
        "Celeb-real/id3_0000",
        "Celeb-synthesis/id0_id1_0000",
        "YouTube-real/00001",
    )
    text = "0 Celeb-synthesis/id0_id1_0000.mp4"
    touch(
        tmp_path,
        {f"{name}/{i}.png": "" for name in files for i in range(2)} | {"List_of_testing_videos.txt": text},
    )
    with pytest.raises(DfdError, match=r"the train split of .* has no fake image"):
        open_data(tmp_path)


def test_links_to_label_folders_are_followed_once(tmp_path):
    store = touch(tmp_path / "store", ["a/1.png", "a/2.png", "b/1.png", "b/fake/3.png", "other/5.png"])
    data = touch(tmp_path / "data", ["train/keep.txt"])
    (data / "real").symlink_to(store / "a")
    (data / "fake").symlink_to(store / "b")
    (store / "b/real").symlink_to(data)  # a loop
    (data / "more").symlink_to(store / "other")
    with pytest.warns(UserWarning, match="2 × linked folder"):
        found = scan_images(data)
    assert list(found["path"]) == ["fake/1.png", "fake/fake/3.png", "real/1.png", "real/2.png"]
    assert list(found["label"]) == ["fake", "fake", "real", "real"]


def test_lists_that_name_a_part_are_left_out_aloud(tmp_path):
    touch(
        tmp_path,
        {
            f"{FF[0]}/000_003.mp4": "",
            f"{FF[1]}/000.mp4": "",
            f"{FF[1]}/777.mp4": "",
            "FF++/splits/train.json": '[["000", "003"]]',
        },
    )
    with pytest.warns(UserWarning, match=r"name 2 of 3 .*777\.mp4 is in none"):
        assert scan_videos(tmp_path)["split"].isna().all()


def test_a_broken_table_is_refused_by_name(tmp_path):
    touch(tmp_path, {"real/1.png": "", "fake/1.png": "", "metadata.json": '{"a": '})
    with pytest.raises(DfdError, match=r"metadata\.json cannot be read"):
        scan_images(tmp_path)
    touch(
        tmp_path,
        {
            "metadata.json": '{"a": 1}',
            "train.json": "{}",
            "metadata.csv": "x\n1\n",
            "splits/train.txt": "other",
        },
    )
    assert scan_images(tmp_path)["split"].isna().all()


def test_sources_in_two_stated_splits_are_told(tmp_path):
    touch(
        tmp_path,
        [
            f"{split}/{label}/person_{i}/{k}.png"
            for split in ("train", "val")
            for label in ("real", "fake")
            for i in range(3)
            for k in "12"
        ],
    )
    with pytest.warns(UserWarning, match="3 groups cross the splits, e.g. `person_0` is in train and val"):
        manifest = open_data(tmp_path)
    assert set(manifest["split"]) == {"train", "val"}
    assert not crossing(assign_splits(manifest, {"train": 0.5, "val": 0.5}))


def test_frames_that_nothing_ties_are_told(tmp_path):
    touch(
        tmp_path,
        [f"{label}/film{v}_{i:03d}.png" for label in ("real", "fake") for v in range(12) for i in range(3)],
    )
    assert "look like frames of 12 sources, e.g. `film" in grouping(scan_images(tmp_path))[1]


def test_a_manifest_of_videos_is_one_row_for_each(tmp_path, capsys):
    touch(
        tmp_path,
        [f"Celeb-real/id{i}_0000.mp4" for i in range(9)]
        + [f"Celeb-synthesis/id{i}_id{i}_0000.mp4" for i in range(9)],
    )
    assert main(["split", str(tmp_path), "--videos", "--val", "0.3"]) == 0
    manifest = open_data(capsys.readouterr().out.strip(), videos=True)
    assert (len(manifest), manifest["group"].nunique()) == (18, 9)
    assert (tmp_path / "manifest.csv").exists()


def test_groups_of_several_data_sets_are_tied(tmp_path):
    tables = []
    for name, pairs in {"one": ("000_003", "011_012"), "two": ("003_010", "013_014")}.items():
        touch(
            tmp_path / name,
            [f"fake/{pair}/1.png" for pair in pairs] + [f"real/{pair[:3]}/1.png" for pair in pairs],
        )
        tables.append(scan_images(tmp_path / name))
    both = pd.concat(tables, ignore_index=True)
    of = assign_splits(both, {"train": 0.5, "val": 0.5}).set_index("path")["split"]
    assert of["fake/000_003/1.png"] == of["fake/003_010/1.png"]
    both["split"] = ["train"] * len(tables[0]) + ["test"] * len(tables[1])
    with pytest.raises(DfdError, match=r"1 groups cross the splits, e\.g\. `000`"):
        assert_disjoint(both)


def test_rows_that_share_a_name_at_second_hand_are_one_group():
    assert tie([("b", "a"), ("c",), ("d", "b"), ("e", "c")]) == ["a", "c", "a", "c"]


# --- property: whatever the tree, no source is in two splits or two folds ----------------------------------------------


def pairs_of(rng, n):
    """Return sources, and pairs of them that fakes are made of; components stay small, as in FaceForensics++."""
    return [(a, int(rng.choice([b for b in range(a // 4 * 4, a // 4 * 4 + 4) if b != a]))) for a in range(n)]


def ffpp(rng, n, frames):
    files = {}
    for a in range(n):
        files |= _unit(f"{FF[1]}/{a:03d}", frames, {a})
    for method in ("Deepfakes", "FaceSwap"):
        for a, b in pairs_of(rng, n):
            files |= _unit(f"FF++/manipulated_sequences/{method}/c23/videos/{a:03d}_{b:03d}", frames, {a, b})
    return files, {}


def plain(rng, n, frames):
    files = {}
    for a, b in pairs_of(rng, n):
        files |= _unit(f"real/{a:03d}", frames, {a}) | _unit(
            f"fake/Deepfakes/{a:03d}_{b:03d}", frames, {a, b}
        )
    return files, {}


def celeb(rng, n, frames):
    files = {}
    for a, b in pairs_of(rng, n):
        for number in ("0000", "0001"):
            files |= _unit(f"Celeb-real/id{a}_{number}", frames, {100 + a})
        files |= _unit(f"Celeb-synthesis/id{a}_id{b}_0003", frames, {100 + a, 100 + b})
        files |= _unit(f"YouTube-real/{a:05d}", frames, {1000 + a})
    return files, {}


def dfdc(rng, n, frames):
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    files, table = {}, {}
    for a in range(n):
        real, *fakes = ("".join(rng.choice(letters, 10)) for _ in range(3))
        table[f"{real}.mp4"] = {"label": "REAL", "split": "train"}
        files |= _unit(f"dfdc_train_part_0/{real}", frames, {a})
        for fake in fakes:
            table[f"{fake}.mp4"] = {"label": "FAKE", "split": "train", "original": f"{real}.mp4"}
            files |= _unit(f"dfdc_train_part_0/{fake}", frames, {a})
    return files, {"dfdc_train_part_0/metadata.json": json.dumps(table)}


def letters_only(rng, n, _):
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    files = {}
    for a in range(2 * n):
        files |= _unit(f"{('real', 'fake')[a % 2]}/{''.join(rng.choice(letters, 10))}", True, {a})
    return files, {}


def df40(rng, n, _):
    files = {}
    for a, b in pairs_of(rng, n):
        files |= _unit(f"real/ff/frames/{a:03d}", True, {a}) | _unit(
            f"fake/simswap/ff/frames/{a:03d}_{b:03d}", True, {a, b}
        )
        files |= _unit(f"real/cdf/frames/id{a}_0000", True, {100 + a})
        files |= _unit(f"fake/blendface/cdf/frames/id{a}_id{b}_0001", True, {100 + a, 100 + b})
    return files, {}


def deeper(rng, n, frames):
    files = {}
    for a, _ in pairs_of(rng, n):
        files |= _unit(f"original_sequences/youtube/c23/videos/{a:03d}", frames, {a})
        files |= _unit(f"manipulated_videos/end_to_end/{a:03d}_M{a // 2:03d}", frames, {a, 500 + a // 2})
    return files, {}


def wild(rng, n, _):
    files = {}
    for a in range(n):
        for clip in range(int(rng.integers(1, 4))):
            files |= _unit(f"{('real', 'fake')[a % 2]}/{a + 10}/{clip}", True, {a})
    return files, {}


def several(rng, n, _):
    parts = {"FF++": ffpp, "Celeb-DF": celeb, "DF40": df40, "DeeperForensics": deeper}
    return {
        f"{top}/{name}": found for top, part in parts.items() for name, found in part(rng, n, True)[0].items()
    }, {}


def _unit(name, frames, sources):
    return {f"{name}/{i:04d}.png": sources for i in range(3)} if frames else {f"{name}.mp4": sources}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("frames", [True, False])
@pytest.mark.parametrize("layout", [ffpp, plain, celeb, dfdc, letters_only, df40, deeper, wild, several])
def test_no_source_is_in_two_splits_or_folds(layout, frames, seed, tmp_path):
    rng = np.random.default_rng(seed)
    files, tables = layout(rng, int(rng.integers(20, 40)), frames)
    touch(tmp_path, dict.fromkeys(files, "") | tables)
    by_frames = next(iter(files)).endswith("png")
    for scan in (scan_images, scan_videos) if by_frames else (scan_videos,):
        manifest = scan(tmp_path)
        units = (
            files
            if scan is scan_images or not by_frames
            else {str(Path(name).parent): files[name] for name in files}
        )
        assert set(manifest["path"]) == set(units)
        assert manifest["label"].notna().all()
        split = assign_splits(manifest, FRACTIONS, seed)["split"]
        for parts in (split, kfold(manifest, 3, seed)):
            places = defaultdict(set)
            for path, part in zip(manifest["path"], parts, strict=True):
                for source in units[path]:
                    places[source].add(part)
            assert all(len(found) == 1 for found in places.values())
        assert set(split) == set(FRACTIONS)
