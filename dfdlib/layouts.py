"""What the folders of a data set say: split, label, category, group and generator of each image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
LABEL_WORDS = {
    **dict.fromkeys(
        [
            "real",
            "reals",
            "0_real",
            "real_images",
            "original",
            "originals",
            "original_sequences",
            "authentic",
            "genuine",
            "pristine",
            "nature",
            "training_real",
            "test_real",
            "valid_real",
        ],
        "real",
    ),
    **dict.fromkeys(
        [
            "fake",
            "fakes",
            "1_fake",
            "fake_images",
            "manipulated",
            "manipulated_sequences",
            "forged",
            "tampered",
            "synthetic",
            "generated",
            "deepfake",
            "deepfakes",
            "ai",
            "training_fake",
            "test_fake",
            "valid_fake",
        ],
        "fake",
    ),
}
MAX_CATEGORIES = 50
"""More sub-folders than this below a label are sources (videos, identities), not categories."""


@dataclass
class Place:
    """What the folders above one image say; None where they do not."""

    split: str | None = None
    label: str | None = None
    above: list[str] = field(default_factory=list)
    """Further folders above the label, or all of them where there is no label."""
    below: list[str] = field(default_factory=list)
    """Further folders below the label."""
    category: str | None = None
    group: str | None = None
    generator: str | None = None


def read_places(folders: Sequence[tuple[str, ...]], labels: Mapping[str, str]) -> list[Place]:
    """Interpret the folders of each image of a data set.

    A folder is a split word, a label word (the user's `labels` first), or something else, in any order and
    any case. What else stands below the label is the category when such names are few and shared by real
    and fake, and the group otherwise; deeper folders are the group. What else stands above the label is
    the generator or, given two, generator and category (as in CNNDetection's test sets). Folders that all
    images share, such as the top folder of an archive, say nothing.

    Args:
        folders: The folders of each image, below the root.
        labels: Folder names, in lower case, that mean `real` or `fake`.
    """
    places = [_read_place(parts, labels) for parts in folders]
    shared = _shared_prefix([place.above for place in places])
    categories = _category_names(places)
    for place in places:
        above, below = place.above[shared:], list(place.below)
        if place.label is None:
            place.category = above[0] if above and place.split is None else None
            continue
        if below and below[0] in categories:
            place.category = below.pop(0)
        elif len(above) > 1:
            place.category = above.pop()
        if below:
            place.group = "/".join(filter(None, (place.split, *below)))
        if above and place.label == "fake":
            place.generator = above[0]
    return places


def _read_place(parts: tuple[str, ...], labels: Mapping[str, str]) -> Place:
    place = Place()
    for part in parts:
        word = part.lower()
        if place.label is None and (word in labels or word in LABEL_WORDS):
            place.label = labels.get(word) or LABEL_WORDS[word]
        elif place.split is None and word in SPLIT_WORDS:
            place.split = SPLIT_WORDS[word]
        elif place.label is None:
            place.above.append(part)
        else:
            place.below.append(part)
    return place


def _shared_prefix(folders: list[list[str]]) -> int:
    """Return how many first folders are the same for every image."""
    n = 0
    while folders and all(len(parts) > n and parts[n] == folders[0][n] for parts in folders):
        n += 1
    return n


def _category_names(places: list[Place]) -> set[str]:
    labels_of = defaultdict(set)
    for place in places:
        if place.below:
            labels_of[place.below[0]].add(place.label)
    shared = sum(len(labels) > 1 for labels in labels_of.values())
    return set(labels_of) if len(labels_of) <= MAX_CATEGORIES and 2 * shared >= len(labels_of) else set()
