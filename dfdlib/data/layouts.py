"""What the folders of a data set tell about each image: split, label, category, group and generator."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


def _by_meaning(**words: str) -> dict[str, str]:
    """Turn `meaning="word word …"` into the meaning of each word."""
    return {word: meaning for meaning, group in words.items() for word in group.split()}


SPLIT_WORDS = _by_meaning(train="train training", val="val valid validation dev", test="test testing")
LABEL_WORDS = _by_meaning(
    real="real reals 0_real real_images original originals original_sequences authentic genuine pristine "
    "nature training_real test_real valid_real",
    fake="fake fakes 1_fake fake_images manipulated manipulated_sequences forged tampered synthetic "
    "generated deepfake deepfakes ai training_fake test_fake valid_fake",
)
_PEOPLE = ("human_faces", "faces", "face", "humans", "people")
CATEGORY_WORDS = frozenset((*_PEOPLE, "animals", "vehicles", "objects", "scenes", "landscapes"))
"""Folder names that are a category even where only one label has them."""
SILENT_WORDS = frozenset(["images", "imgs", "frames", "videos", "raw", "c0", "c23", "c40"])
"""Folder names without a meaning (FaceForensics++ keeps each video under `raw`, `c23` and `c40`)."""
MAX_CATEGORIES = 50
"""More sub-folders than this below a label are sources (videos, identities), not categories."""
_NUMBERED = re.compile(
    r"(.*[ _-])?\d{3,}|\d{2,}([ _-]\d+)*|(id|person|subject|identity|actor|video|vid|clip|scene)[ _-]?\d+"
)


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
    any case. What else stands above the label is the generator or, given two, generator and category (as in
    CNNDetection's test sets). What else stands below the label is

    - the group, where the name is numbered (`000_003`, `person_7`) or one of more than 50: a video, an
      identity;
    - else the category, where real and fake share the name or most such names, or it is a well-known one;
    - else the generator of a fake, once; of a real image it says nothing (`real/ffhq`).

    Folders below these are the group. Folders that all images share, such as the top folder of an archive,
    say nothing, whatever their name, unless only they state the label.

    Args:
        folders: The folders of each image, below the root.
        labels: Folder names, in lower case, that mean `real` or `fake`.
    """
    top = _shared_prefix(folders)
    places = [_read_place(parts, labels, top) for parts in folders]
    if all(place.label is None for place in places):
        places = [_read_place(parts, labels, 0) for parts in folders]
    shared = _shared_prefix([place.above for place in places])
    categories, sources = _names_below(places)
    for place in places:
        above, below = place.above[shared:], list(place.below)
        if place.label is None:
            place.category = above[0] if above and place.split is None else None
            continue
        source = below.pop(0) if below and below[0] in sources else None
        if below and below[0] in categories:
            place.category = below.pop(0)
        elif len(above) > 1:
            place.category = above.pop()
        if below:
            place.group = "/".join(filter(None, (place.split, *below)))
        if place.label == "fake":
            place.generator = above[0] if above else source
    return places


def _read_place(parts: tuple[str, ...], labels: Mapping[str, str], top: int) -> Place:
    """Read the folders of one image; the first `top` of them state no label."""
    place = Place()
    for depth, part in enumerate(parts):
        word = part.lower()
        if depth >= top and place.label is None and (word in labels or word in LABEL_WORDS):
            place.label = labels.get(word) or LABEL_WORDS[word]
        elif place.split is None and word in SPLIT_WORDS:
            place.split = SPLIT_WORDS[word]
        elif word in SILENT_WORDS:
            continue
        elif place.label is None:
            place.above.append(part)
        else:
            place.below.append(part)
    return place


def _shared_prefix(folders: Sequence[Sequence[str]]) -> int:
    """Return how many first folders are the same for every image."""
    n = 0
    while folders and all(len(parts) > n and parts[n] == folders[0][n] for parts in folders):
        n += 1
    return n


def _names_below(places: list[Place]) -> tuple[set[str], set[str]]:
    """Return the names of categories, and of generators and other sources, among the folders below labels."""
    labels_of = defaultdict(set)
    first = set()
    for place in places:
        first.update(place.below[:1])
        for name in place.below[:2]:
            if not _NUMBERED.fullmatch(name.lower()):
                labels_of[name].add(place.label)
    first &= set(labels_of)
    if len(first) > MAX_CATEGORIES:
        return set(), set()
    known = {name for name in labels_of if name.lower() in CATEGORY_WORDS}
    categories = known | {name for name, labels in labels_of.items() if len(labels) > 1}
    if 2 * len(first & categories) >= len(first):
        categories |= first
    return categories, first - categories
