"""What the folders of a data set tell about each image: split, label, category, group and generator."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath


def _by_meaning(**words: str) -> dict[str, str]:
    """Turn `meaning="word word …"` into the meaning of each word."""
    return {word: meaning for meaning, group in words.items() for word in group.split()}


SPLIT_WORDS = _by_meaning(train="train training", val="val valid validation dev", test="test testing")
LABEL_WORDS = _by_meaning(
    real="real reals 0_real real_images original originals original_sequences authentic genuine pristine "
    "nature training_real test_real valid_real",
    fake="fake fakes 1_fake fake_images manipulated manipulated_sequences forged tampered synthetic synthesis "
    "generated deepfake deepfakes ai training_fake test_fake valid_fake",
)
_PEOPLE = ("human_faces", "faces", "face", "humans", "people")
CATEGORY_WORDS = frozenset((*_PEOPLE, "animals", "vehicles", "objects", "scenes", "landscapes"))
"""Folder names that are a category even where only one label has them."""
SILENT_WORDS = frozenset(
    ["images", "imgs", "frames", "face_images", "faces_images", "videos", "raw", "c0", "c23", "c40"]
)
"""Folder names without a meaning (FaceForensics++ keeps each video under `raw`, `c23` and `c40`)."""
MAX_CATEGORIES = 50
"""More sub-folders than this below a label are sources (videos, identities), not categories."""
MIN_VIDEOS = 5
"""As many folders of numbered frames below one label are videos, whatever their names; fewer may be generators."""
_NUMBERED = re.compile(
    r"(.*[ _-])?\d{3,}|\d{2,}([ _-]\d+)*|(id|person|subject|identity|actor|video|vid|clip|scene)[ _-]?\d+"
)
_FRAME = re.compile(r"(frame|img|image|face)?[ _-]?\d+", re.IGNORECASE)
_NO_VIDEO = re.compile(
    r"gan|diffusion|^sd|^(adm|ddpm|ddim|ldm|iddpm|pndm|vqdm|glide|flux|imagen|firefly|wukong|dalle?|midjourney)"
    r"|^(ffhq|celeb|coco|imagenet|lsun|laion|afhq|vggface|raise|openimages|cifar|places)"
)
"""Generators and collections of photographs, whose images are numbered as frames are."""
_TEN_LETTERS = re.compile(r"[a-z]{10}")
"""How DFDC names its videos."""


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


def read_places(paths: Sequence[str], labels: Mapping[str, str]) -> list[Place]:
    """Interpret the folders of each image or video of a data set.

    A folder is a split word, a label word (the user's `labels` first), or something else, in any order and
    any case. Where no folder of a path is a label word by itself, one that begins or ends with one
    (`Celeb-real`, `fake_train`) states the label. What else stands above the label is the generator or, where
    generators have several such folders, generator and category (as in CNNDetection's test sets). What else
    stands below the label is

    - the group, where the name is numbered (`000_003`, `person_7`), one of more than 50, or the folder holds
      numbered frames and is one of at least `MIN_VIDEOS`: a video, an identity;
    - else the category, in lower case, where real and fake share the name or most such names, or it is a
      well-known one;
    - else the generator of a fake, once; of a real image it says nothing (`real/ffhq`).

    Folders below these are the group, by the first that is numbered. Folders that all images share, such as the top folder of an archive,
    say nothing, whatever their name, unless only they state the label.

    Args:
        paths: Each file below the root, with slashes.
        labels: Folder names, in lower case, that mean `real` or `fake`.
    """
    folders = [PurePosixPath(path).parts[:-1] for path in paths]
    top = _shared_prefix(folders)
    places = [_read_place(parts, labels, top) for parts in folders]
    if all(place.label is None for place in places):
        places = [_read_place(parts, labels, 0) for parts in folders]
    shared = _shared_prefix([place.above for place in places])
    categories, sources = _names_below(places, _frame_folders(paths))
    several = _several_above(places, shared)
    for place in places:
        above, below = place.above[shared:], list(place.below)
        if place.label is None:
            place.category = above[0].lower() if above and place.split is None else None
            continue
        source = below.pop(0) if below and below[0].lower() in sources else None
        if below and below[0].lower() in categories:
            place.category = below.pop(0).lower()
        elif len(above) > 1 and several:
            place.category = above[1].lower()
        if below:
            numbered = [name for name in below if _NUMBERED.fullmatch(name.lower())][:1]
            place.group = "/".join(filter(None, (place.split, *(numbered or below))))
        if place.label == "fake":
            place.generator = above[0] if above else source
    return places


def _read_place(parts: tuple[str, ...], labels: Mapping[str, str], top: int) -> Place:
    """Read the folders of one image; the first `top` of them state no label."""
    place = Place()
    exact = any(part.lower() in labels or part.lower() in LABEL_WORDS for part in parts[top:])
    for depth, part in enumerate(parts):
        word = part.lower()
        label = labels.get(word) or LABEL_WORDS.get(word)
        split = SPLIT_WORDS.get(word)
        if not exact and label is None and split is None:
            label, split = _ends(word)
        if depth >= top and place.label is None and label:
            place.label = label
            place.split = place.split or split
        elif place.split is None and split:
            place.split = split
        elif word in SILENT_WORDS:
            continue
        elif place.label is None:
            place.above.append(part)
        else:
            place.below.append(part)
    return place


def _ends(word: str) -> tuple[str | None, str | None]:
    """Return the label and the split that the first and the last part of a name state, such as of `fake_train`."""
    ends = re.split(r"[ _-]+", word)
    ends = {ends[0], ends[-1]} if len(ends) > 1 else set()
    found = {LABEL_WORDS[end] for end in ends if end in LABEL_WORDS}
    if len(found) != 1:
        return None, None
    return found.pop(), next((SPLIT_WORDS[end] for end in ends if end in SPLIT_WORDS), None)


def _several_above(places: Sequence[Place], shared: int) -> bool:
    """Whether some folder above the labels, past the shared ones, holds several others: a generator its categories."""
    inside = defaultdict(set)
    for place in places:
        inside[tuple(place.above[: shared + 1])].update(place.above[shared + 1 : shared + 2])
    return any(len(names) > 1 for names in inside.values())


def _shared_prefix(folders: Sequence[Sequence[str]]) -> int:
    """Return how many first folders are the same for every image."""
    n = 0
    while folders and all(len(parts) > n and parts[n] == folders[0][n] for parts in folders):
        n += 1
    return n


def _frame_folders(paths: Sequence[str]) -> set[str]:
    """Return the names of the folders that hold nothing but numbered images, at least two."""
    counts, odd = Counter(), set()
    for path in paths:
        folder, _, name = path.rpartition("/")
        counts[folder] += 1
        if not _FRAME.fullmatch(name.rpartition(".")[0]):
            odd.add(folder)
    return {folder.rpartition("/")[2].lower() for folder, n in counts.items() if n > 1 and folder not in odd}


def _names_below(places: list[Place], frame_folders: set[str]) -> tuple[set[str], set[str]]:
    """Return the names, in lower case, of categories, and of generators and other sources, among the folders below labels."""
    labels_of, videos = defaultdict(set), defaultdict(set)
    first, numbers = set(), defaultdict(set)
    for place in places:
        below = [name.lower() for name in place.below]
        first.update(below[:1])
        for name in below[:2]:
            if not _NUMBERED.fullmatch(name):
                labels_of[name].add(place.label)
        if below and below[0].isdigit():
            numbers[place.label].add(below[0])
        if len(below) == 1 and below[0] in frame_folders:
            videos[place.label].add(below[0])
    for name in _class_numbers(numbers):
        labels_of[name] = {"real", "fake"}
    known = {name for name in labels_of if name in CATEGORY_WORDS}
    categories = known | {name for name, labels in labels_of.items() if len(labels) > 1}
    unknown = {label: {n for n in names - categories if _is_video(n)} for label, names in videos.items()}
    if any(len(names) >= MIN_VIDEOS for names in unknown.values()):
        first -= set().union(*unknown.values())
    first &= set(labels_of)
    if len(first) > MAX_CATEGORIES:
        return set(), set()
    if 2 * len(first & categories) >= len(first):
        categories |= first
    return categories, first - categories


def _is_video(name: str) -> bool:
    return bool(_TEN_LETTERS.fullmatch(name)) or not _NO_VIDEO.search(name)


def _class_numbers(numbers: Mapping[str | None, set[str]]) -> set[str]:
    """Return names that number classes, such as 0 to 11: the same below both labels, without a gap or a leading zero."""
    real, fake = numbers.get("real", set()), numbers.get("fake", set())
    values = sorted(map(int, real))
    whole = values and values == list(range(values[0], values[0] + len(values))) and values[0] in (0, 1)
    plain = {str(value) for value in values}
    return real if real == fake == plain and whole and len(real) <= MAX_CATEGORIES else set()
