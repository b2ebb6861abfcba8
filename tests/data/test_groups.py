"""Groups: whatever the layout, no source ever crosses splits or folds."""

import json

import numpy as np
import pytest

from dfdlib.core.errors import DfdError
from dfdlib.data.groups import grouping, tie
from dfdlib.data.scan import open_data, scan_images, scan_videos
from dfdlib.data.splits import assign_splits, kfold

N = 20


def pairs(rng):
    """Draw the videos that are swapped with each other, in twos as FaceForensics++ has them."""
    order = rng.permutation(N)
    return [(order[i], order[i + 1]) for i in range(0, N, 2)] + [
        (order[i + 1], order[i]) for i in range(0, N, 2)
    ]


def faceforensics_frames(rng):
    frames, swapped = range(int(rng.integers(2, 4))), pairs(rng)
    real = {f"original_sequences/youtube/c23/frames/{i:03}/{f:04}.png": {i} for i in range(N) for f in frames}
    fake = {
        f"manipulated_sequences/{method}/c23/frames/{a:03}_{b:03}/{f:04}.png": {a, b}
        for method in ("Deepfakes", "FaceSwap")
        for a, b in swapped
        for f in frames
    }
    return real | fake


def faceforensics_flat_labels(rng):
    real = {f"real/{i:03}/frame_{f}.png": {i} for i in range(N) for f in range(3)}
    return real | {
        f"fake/NeuralTextures/{a:03}_{b:03}/frame_{f}.png": {a, b} for a, b in pairs(rng) for f in range(3)
    }


def celeb_df(rng):
    """Persons swapped in twos; one clip is a folder of face crops."""
    real = {f"Celeb-real/id{i}_{c:04}/{f:03}.png": {i} for i in range(N) for c in range(2) for f in range(2)}
    fake = {f"Celeb-synthesis/id{a}_id{b}_0000/{f:03}.png": {a, b} for a, b in pairs(rng) for f in range(2)}
    youtube = {f"YouTube-real/{i:05}/{f:03}.png": {f"y{i}"} for i in range(8) for f in range(2)}
    return real | fake | youtube


def dfdc_letters(rng):
    names = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 10)) for _ in range(2 * N)]
    return {
        f"{'real' if i < N else 'fake'}/{name}/{f}.png": {name}
        for i, name in enumerate(names)
        for f in range(4)
    }


def wild_deepfake(rng):
    del rng
    return {
        f"{label}_train/{video}/{sequence}/{f}.png": {f"{label}{video}"}
        for label in ("real", "fake")
        for video in range(10, 10 + N)
        for sequence in range(100, 102)
        for f in range(2)
    }


def deeper_forensics(rng):
    real = {f"real/{i:03}/{f}.png": {i} for i in range(N) for f in range(2)}
    fake = {
        f"fake/end_to_end/{i:03}_M{100 + i % 7}/{f}.png": {i, f"M{i % 7}"} for i in range(N) for f in range(2)
    }
    del rng
    return real | fake


LAYOUTS = [
    faceforensics_frames,
    faceforensics_flat_labels,
    celeb_df,
    dfdc_letters,
    wild_deepfake,
    deeper_forensics,
]


def crossing(manifest, column, sources):
    """Return the sources whose images have different values of a column."""
    places = {}
    for path, value in zip(manifest["path"], manifest[column], strict=True):
        for source in sources[path]:
            places.setdefault(source, set()).add(value)
    return {source for source, values in places.items() if len(values) > 1}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(5))
def test_no_source_crosses_splits_or_folds(layout, seed, write_images):
    sources = layout(np.random.default_rng(seed))
    manifest = scan_images(write_images(list(sources)))
    assert sorted(manifest["path"]) == sorted(sources)
    assert manifest["label"].notna().all()
    unsplit = manifest.assign(split=None)
    assert not crossing(assign_splits(unsplit, seed=seed), "split", sources)
    assert not crossing(unsplit.assign(fold=kfold(unsplit, 3, seed)), "fold", sources)
    assert manifest["group"].nunique() >= 3, "groups are no larger than they must be"


def test_videos_are_tied_as_frames_are(tmp_path):
    names = [
        *(f"real/{i:03}.mp4" for i in range(4)),
        "fake/Deepfakes/000_001.mp4",
        "fake/Deepfakes/003_002.mp4",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    manifest = scan_videos(tmp_path).set_index("path")
    assert manifest.loc["fake/Deepfakes/000_001.mp4", "group"] == manifest.loc["real/001.mp4", "group"]
    assert manifest["group"].nunique() == 2
    assert manifest.loc["fake/Deepfakes/003_002.mp4", "generator"] == "Deepfakes"


def test_dfdc_metadata_gives_labels_and_originals(write_images):
    root = write_images([f"part_0/{name}/{f}.png" for name in ("aaa", "bbb", "ccc", "ddd") for f in range(2)])
    about = {
        "aaa.mp4": {"label": "REAL", "split": "train"},
        "bbb.mp4": {"label": "FAKE", "split": "train", "original": "aaa.mp4"},
        "ccc.mp4": {"label": "REAL", "split": "train"},
        "ddd.mp4": {"label": "FAKE", "split": "train", "original": "ccc.mp4"},
    }
    (root / "part_0" / "metadata.json").write_text(json.dumps(about))
    manifest = scan_videos(root).set_index("path")
    assert manifest["label"].to_dict() == {
        "part_0/aaa": "real",
        "part_0/bbb": "fake",
        "part_0/ccc": "real",
        "part_0/ddd": "fake",
    }
    assert manifest.loc["part_0/bbb", "group"] == manifest.loc["part_0/aaa", "group"]
    assert manifest["group"].nunique() == 2


def test_official_splits_of_faceforensics_are_read(write_images):
    root = write_images(
        [
            *(f"real/{i:03}/{f}.png" for i in range(6) for f in range(2)),
            *(f"fake/{a:03}_{b:03}/{f}.png" for a, b in ((0, 1), (2, 3), (4, 5)) for f in range(2)),
        ]
    )
    (root / "splits").mkdir()
    for i, name in enumerate(("train", "val", "test")):
        (root / "splits" / f"{name}.json").write_text(json.dumps([[f"{2 * i:03}", f"{2 * i + 1:03}"]]))
    manifest = scan_images(root)
    assert set(manifest.loc[manifest["path"].str.contains("/002_003/|/003/"), "split"]) == {"val"}
    assert manifest["split"].value_counts().to_dict() == {"train": 6, "val": 6, "test": 6}


def test_celeb_dfs_test_list_is_kept_and_persons_that_cross_it_are_told(tmp_path):
    names = [f"Celeb-real/id{i}_{c:04}.mp4" for i in range(8) for c in range(2)]
    names += [f"Celeb-synthesis/id{i}_id{i + 1}_0000.mp4" for i in range(0, 8, 2)]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listed = ["1 Celeb-real/id0_0001.mp4", "0 Celeb-synthesis/id6_id7_0000.mp4", "1 Celeb-real/id6_0000.mp4"]
    (tmp_path / "List_of_testing_videos.txt").write_text("\n".join(listed))
    manifest = scan_videos(tmp_path)
    tested = set(manifest.loc[manifest["split"] == "test", "path"])
    assert tested == {line.split()[1] for line in listed}
    assert set(manifest["split"]) == {"train", "test"}
    with pytest.warns(UserWarning, match=r"2 groups cross the splits, e\.g\. `id0` is in test and train"):
        assert set(open_data(tmp_path, videos=True)["split"]) == {"train", "val", "test"}


def test_a_broken_list_is_refused_by_name(write_images):
    root = write_images(["real/a.png", "fake/b.png"])
    (root / "metadata.json").write_text("{")
    with pytest.raises(DfdError, match=r"metadata\.json cannot be read"):
        scan_images(root)


def test_rows_that_share_a_key_are_one_through_others():
    assert list(tie([["b"], ["a", "c"], ["c"], ["d", "b"], ["e"]])) == ["b", "a", "a", "b", "e"]


def test_names_that_look_like_frames_are_told(write_images):
    files = [
        f"{label}/{v:03}_{v + 1:03}_{f:04}.png"
        for label in ("real", "fake")
        for v in range(8)
        for f in range(3)
    ]
    manifest = open_data(write_images(files))
    assert "48 file names look like frames of 8 sources" in " ".join(grouping(manifest))
    tied = manifest.assign(
        split=None, group=manifest["path"].str.rsplit("_", n=1).str[0].str.rsplit("/").str[-1]
    )
    assert len(grouping(tied)) == 1
