"""What files beside the images state: labels, originals, categories and official splits of known data sets."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.data.sources import sources_of, video_names

FILES = frozenset(
    ["metadata.json", "metadata.csv", "List_of_testing_videos.txt", "train.json", "val.json", "test.json"]
)
"""DFDC's labels and originals; ArtiFact's table; Celeb-DF's test list; the splits of FaceForensics++."""
_TEST_LINE = re.compile(r"^[01]\s+(\S+?)(?:\.\w+)?\s*$", re.MULTILINE)


def apply_metadata(
    manifest: pd.DataFrame, root: Path, files: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Fill in what the folders of a data set do not tell and files beside its images do.

    Args:
        manifest: One row per image or video, see `manifest`.
        root: The folder of the data set.
        files: Those of `FILES` below it.

    Returns:
        The manifest, and the original of each fake video where one is stated, by names without suffix.

    Raises:
        DfdError: One of the files cannot be read.
    """
    originals: dict[str, str] = {}
    splits: dict[str, str] = {}
    for file in files:
        path = root / file
        try:
            if path.name == "metadata.json":
                manifest = _dfdc(manifest, json.loads(path.read_text(encoding="utf-8")), originals)
            elif path.name == "metadata.csv":
                manifest = _artifact(manifest, pd.read_csv(path), PurePosixPath(file).parent)
            elif path.suffix == ".txt":
                splits |= dict.fromkeys(_TEST_LINE.findall(path.read_text(encoding="utf-8")), "test")
            else:
                pairs = json.loads(path.read_text(encoding="utf-8"))
                splits |= {str(video): path.stem for pair in pairs for video in pair}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DfdError(
                f"{path} is not the file that its name promises ({error}); mend it, or take it away."
            ) from error
    return _official(manifest, splits) if splits else manifest, originals


def keep_apart(manifest: pd.DataFrame) -> pd.DataFrame:
    """Keep official splits that persons cross, as Celeb-DF's do: groups are then of one split each, with a warning."""
    crossing = manifest.groupby("group")["split"].transform("nunique") > 1
    if not crossing.any():
        return manifest
    warnings.warn(
        f"the official splits put {manifest.loc[crossing, 'group'].nunique()} sources, such as "
        f"{manifest.loc[crossing, 'group'].iloc[0]}, into more than one split: scores on the test split flatter.",
        stacklevel=4,
    )
    apart = manifest["split"].fillna("") + "/" + manifest["group"]
    return manifest.assign(group=manifest["group"].where(~crossing, apart))


def _dfdc(
    manifest: pd.DataFrame, videos: dict[str, dict[str, str]], originals: dict[str, str]
) -> pd.DataFrame:
    stem = {name: PurePosixPath(name).stem for name in videos}
    originals |= {
        stem[name]: PurePosixPath(about["original"]).stem
        for name, about in videos.items()
        if about.get("original")
    }
    label = {stem[name]: about["label"].lower() for name, about in videos.items() if "label" in about}
    stated = pd.Series(video_names(manifest), manifest.index).map(label)
    return manifest.assign(label=manifest["label"].where(manifest["label"].notna(), stated))


def _artifact(manifest: pd.DataFrame, table: pd.DataFrame, folder: PurePosixPath) -> pd.DataFrame:
    """Read ArtiFact's columns: `image_path`, `target` (0 for real), and `category` where there is one."""
    table = table.assign(path=[str(folder / path) for path in table["image_path"]]).set_index("path")
    rows = manifest["path"].isin(table.index)
    about = table.loc[manifest.loc[rows, "path"]]
    fake = (about["target"] != 0).to_numpy()
    result = manifest.copy()
    result.loc[rows, "label"] = ["fake" if one else "real" for one in fake]
    result.loc[rows, "category"] = list(about["category"].str.lower()) if "category" in about else None
    result.loc[rows, "generator"] = [folder.name if one else None for one in fake]
    return result


def _official(manifest: pd.DataFrame, splits: dict[str, str]) -> pd.DataFrame:
    """Apply official splits to rows whose folders state none; where a list has test videos alone, the rest is for training."""
    stated = []
    for name, path in zip(video_names(manifest), manifest["path"], strict=True):
        known = [*sources_of(name), *(f"{folder}/{name}" for folder in PurePosixPath(path).parts)]
        found = {splits[video] for video in known if video in splits}
        stated.append(found.pop() if len(found) == 1 else None)
    if not any(stated):
        return manifest
    if set(splits.values()) == {"test"}:
        stated = [split or "train" for split in stated]
    split = manifest["split"].where(
        manifest["split"].notna(), pd.Series(stated, manifest.index, dtype=object)
    )
    left_out = split.isna()
    if left_out.any():
        warnings.warn(
            f"{left_out.sum()} of {len(manifest)} files are in none of the official splits and are left out, "
            f"e.g. {manifest.loc[left_out, 'path'].iloc[0]}.",
            stacklevel=4,
        )
    return manifest.assign(split=split)[~left_out].reset_index(drop=True)
