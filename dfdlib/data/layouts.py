"""What the folders of a data set tell about each image: split, label, category, sources and generator.

`docs/layouts.md` lists the data sets whose layout is read, and how.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dfdlib.data.groups import sources_of

Folder = tuple[str, ...]
"""Names of the folders from the root down."""


def _by_meaning(**words: str) -> dict[str, str]:
    """Turn `meaning="word word …"` into the meaning of each word."""
    return {word: meaning for meaning, group in words.items() for word in group.split()}


SPLIT_WORDS = _by_meaning(train="train training", val="val valid validation dev", test="test testing")
LABEL_WORDS = _by_meaning(
    real="real reals 0_real real_images original originals original_sequences authentic genuine pristine "
    "nature training_real test_real valid_real celeb-real youtube-real",
    fake="fake fakes 1_fake fake_images manipulated manipulated_sequences manipulated_videos forged tampered "
    "synthetic generated deepfake deepfakes ai training_fake test_fake valid_fake celeb-synthesis",
)
_PEOPLE = ("human_faces", "faces", "face", "humans", "people")
# The classes of LSUN that CNNDetection (arXiv:1912.11035) trains on; the folder `train` means the split.
_LSUN = "airplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa tvmonitor"
CATEGORY_WORDS = frozenset(
    (*_PEOPLE, *_LSUN.split(), "animals", "vehicles", "objects", "scenes", "landscapes")
)
"""Folder names that are a category even where only one label has them."""
SILENT_WORDS = frozenset(["images", "imgs", "frames", "videos", "raw", "c0", "c23", "c40", "ff", "cdf"])
"""Folder names without a meaning (FaceForensics++ keeps each video under `raw`, `c23` and `c40`; DF40 under `ff`
and `cdf`, after the data set it was made of)."""
MAX_CATEGORIES = 50
"""More sub-folders than this below a label are sources (videos, identities), not categories."""
_MAX_FRAMES = 1000
"""A folder of more images than this, and without a number in its name, is no video."""
_NUMBERED = re.compile(
    r"(.*[ _-])?\d{3,}|\d{2,}([ _-]\d+)*|(id|person|subject|identity|actor|video|vid|clip|scene)[ _-]?\d+"
)
_FRAME = re.compile(r"(.*[ _-])?(frame|image|img|face|f)?\d+\.\w+", re.IGNORECASE)
_KNOWN = re.compile(
    r".*(gan|ganformer|diffusion|dd[ip]m|ldm|glide|dall-?e|midjourney|wukong|imagen|flux|pixart|firefly|inpaint"
    r"|transformer|palette|faceswap|simswap|inswap|mobileswap|deepfake|face2face|neuraltextures|faceshifter|ffhq|celeba|celebahq|coco|lsun|imagenet"
    r"|afhq|laion|metfaces|cifar|youtube)(?![a-z]).*|(adm|sd|dit|sit|mat|cips|sfhq|lama|vqdm|pndm)[ _-]?[\d.]*"
)
"""Names of generators, and of data sets that real images come from: such a folder is no video."""


@dataclass
class Place:
    """What the folders above an image say; None where they do not."""

    split: str | None = None
    label: str | None = None
    word: str | None = None
    """The folder that states the label, where the user gave its meaning."""
    above: list[str] = field(default_factory=list)
    """Further folders above the label, or all of them where there is no label."""
    below: list[str] = field(default_factory=list)
    """Further folders below the label."""
    category: str | None = None
    generator: str | None = None
    sources: tuple[str, ...] = ()
    """What the images were made of: videos, persons."""
    is_video: bool = False
    """Whether the images of the folder are the frames of one video."""


def read_places(
    folders: Mapping[Folder, Sequence[str]], labels: Mapping[str, str], videos: Collection[str] = ()
) -> dict[Folder, Place]:
    """Interpret the folders of a data set.

    A folder is a split word, a label word (the user's `labels` first), or something else, in any order and
    any case. What else stands above the label is the generator or, given two, generator and category (as in
    CNNDetection's test sets). What else stands below the label is

    - the source, where the name is numbered (`000_003`, `person_7`), one of more than 50, or that of a folder of
      numbered frames that the other label does not have: a video, an identity;
    - else the category, where real and fake share the name or most such names, or it is a well-known one;
    - else the generator of a fake, once; of a real image it says nothing (`real/ffhq`).

    Names 0, 1, 2, … that real and fake share are categories. Folders that all images share, such as the top folder of
    an archive, say nothing, whatever their name, unless only they state the label.

    Args:
        folders: The folders that hold images or videos, below the root, and the names of their images.
        labels: Folder names, in lower case, that mean `real` or `fake`.
        videos: Names that are known to be videos.
    """
    top = _shared_prefix(folders)
    places = {folder: _read_place(folder, labels, top) for folder in folders}
    if all(place.label is None for place in places.values()):
        places = {folder: _read_place(folder, labels, 0) for folder in folders}
    shared = _shared_prefix([place.above for place in places.values()])
    for place in places.values():
        place.above = place.above[shared:]
    names = _Names(folders, places, videos)
    for folder, place in places.items():
        if place.label is None:
            place.category = place.above[0] if place.above and place.split is None else None
            rest = place.above
        else:
            rest = names.interpret(place)
        place.is_video = any(map(names.is_source, rest)) and _holds_frames(folders[folder])
    _unify_case(places.values())
    return places


def _read_place(folder: Folder, labels: Mapping[str, str], top: int) -> Place:
    """Read the names of one folder; the first `top` of them state no label."""
    place = Place()
    for depth, part in enumerate(folder):
        word = part.lower()
        label, _, split = word.partition("_")
        if depth >= top and place.label is None and (word in labels or word in LABEL_WORDS):
            place.label = labels.get(word) or LABEL_WORDS[word]
            place.word = part if word in labels else None
        elif place.split is None and word in SPLIT_WORDS:
            place.split = SPLIT_WORDS[word]
        elif place.label is None and label in ("real", "fake") and split in SPLIT_WORDS:  # WildDeepfake
            place.label, place.split = label, SPLIT_WORDS[split]
        elif word in SILENT_WORDS or word == place.label:
            continue
        elif place.label is None:
            place.above.append(part)
        else:
            place.below.append(part)
    return place


class _Names:
    """What the names of folders mean in one data set, in lower case."""

    def __init__(
        self, folders: Mapping[Folder, Sequence[str]], places: Mapping[Folder, Place], videos: Collection[str]
    ) -> None:
        known = [place for place in places.values() if place.label]
        self.videos = {name.lower() for name in videos}
        self.generators: set[str] = set()
        self.categories = CATEGORY_WORDS | _numbers_from_zero(known)
        self._read_below(folders, places)
        children, parents = defaultdict(set), defaultdict(set)
        for place in known:
            for parent, child in zip(place.above[:1], place.above[-1:], strict=True):
                if len(place.above) > 1:
                    children[parent].add(child)
                    parents[child].add(parent)
        several = {child for group in children.values() if len(group) > 1 for child in group}
        self.above = {child.lower() for child in parents if child in several or len(parents[child]) > 1}
        self.words = len({place.word for place in known if place.word and place.label == "fake"}) > 1

    def _read_below(self, folders: Mapping[Folder, Sequence[str]], places: Mapping[Folder, Place]) -> None:
        """Tell categories, generators and videos apart among the folders below labels."""
        labels_of, holders, first = defaultdict(set), defaultdict(list), set()
        for folder, place in places.items():
            for depth, name in enumerate(map(str.lower, place.below[:2])):
                if place.label and not self.is_source(name):
                    labels_of[name].add(place.label)
                    first |= {name} if depth == 0 else set()
                    if depth == len(place.below) - 1:
                        holders[name].append(folders[folder])
        if len(first) > MAX_CATEGORIES:
            self.videos |= first
            return
        self.categories |= {name for name, labels in labels_of.items() if len(labels) > 1}
        if 2 * len(first & self.categories) >= len(first):
            self.categories |= first
        frames = {name for name in holders.keys() - self.categories if all(map(_is_clip, holders[name]))}
        strange = {name for name in frames if not _KNOWN.fullmatch(name)}
        self.videos |= frames if 10 * len(strange) > 9 * len(frames) else strange
        self.generators = first - self.categories - self.videos

    def is_source(self, name: str) -> bool:
        """Whether a folder of this name is a video or a person."""
        word = name.lower()
        if word in self.videos:
            return True
        if word in self.categories or _KNOWN.fullmatch(word):
            return False
        return bool(_NUMBERED.fullmatch(word) or sources_of(name))

    def interpret(self, place: Place) -> list[str]:
        """Fill in category, generator and sources of a labelled place; return the folders below these."""
        above, below, generator = list(place.above), list(place.below), None
        if below and below[0].lower() in self.generators:
            generator = below.pop(0)
        if below and below[0].lower() in self.categories:
            place.category = below.pop(0)
        if above and not place.category and self._is_category_above(above):
            place.category = above.pop()
        if place.label == "fake":
            place.generator = above[0] if above else generator or (place.word if self.words else None)
        like = [name for name in below if self.is_source(name)]
        if below:
            place.sources = sources_of(like[0]) or (like[0],) if like else ("/".join(below),)
            last = sources_of(below[-1])
            place.sources += last if len(last) > 1 and below[-1:] != like[:1] else ()
        return below

    def _is_category_above(self, above: list[str]) -> bool:
        """Whether the last folder above the label is a category, not the generator."""
        word = above[-1].lower()
        return self.words or word in self.above or (len(above) == 1 and word in CATEGORY_WORDS)


def _numbers_from_zero(places: Sequence[Place]) -> set[str]:
    """Return the names 0, 1, 2, … (or from 1 on) of the last folders below both labels; none where there are others."""
    names: dict[str, set[str]] = {"real": set(), "fake": set()}
    for place in places:
        names[place.label or ""] |= {"/".join(place.below)}
    n = len(names["real"])
    ranges = ({str(i) for i in range(n)}, {str(i + 1) for i in range(n)})
    is_range = names["real"] == names["fake"] and names["real"] in ranges
    return names["real"] if is_range and 2 <= n <= MAX_CATEGORIES else set()


def _is_clip(images: Sequence[str]) -> bool:
    return len(images) <= _MAX_FRAMES and _holds_frames(images)


def _holds_frames(images: Sequence[str]) -> bool:
    return bool(images) and all(_FRAME.fullmatch(name) for name in images)


def _unify_case(places: Collection[Place]) -> None:
    """Give a category that is written in several ways, such as `Animals` and `animals`, one name."""
    spellings = defaultdict(set)
    for place in places:
        spellings[(place.category or "").lower()].add(place.category)
    for place in places:
        if place.category and len(spellings[place.category.lower()]) > 1:
            place.category = place.category.lower()


def _shared_prefix(folders: Collection[Sequence[str]]) -> int:
    """Return how many first folders are the same for every image."""
    n, first = 0, next(iter(folders), ())
    while folders and all(len(parts) > n and parts[n] == first[n] for parts in folders):
        n += 1
    return n
