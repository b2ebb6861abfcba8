"""What the folders of a data set tell about each image: split, label, category, sources and generator.

`docs/layouts.md` lists the data sets whose layout is read, and how.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
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
"""A folder of more images than this is no video by its images alone."""
_MANY_CLIPS = 10
_NUMBERED = re.compile(
    r"(.*[ _-])?\d{3,}|\d{2,}([ _-]\d+)*|(id|person|subject|identity|actor|video|vid|clip|scene)[ _-]?\d+"
)
_FRAME = re.compile(r"(.*[ _-])?(frame|image|img|face|f)?\d+\.\w+", re.IGNORECASE)
_KNOWN = re.compile(
    r".*((style|big|pro|cycle|star|gau|vq|projected)gan|ganformer|diffusion|dd[ip]m|ldm|glide|dall-?e|midjourney|wukong"
    r"|imagen|flux|pixart|firefly|inpaint|transformer|faceswap|simswap|inswap|deepfake|face2face|neuraltextures"
    r"|faceshifter|ffhq|celeba|celebahq|coco|lsun|imagenet|afhq|laion|metfaces|cifar|youtube)(?![a-z]).*"
    r"|gan|swap|(adm|sd|sdxl|cips|sfhq|lama|vqdm|pndm)[ _-]?[\d.]*"
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

    - the source, where the name is numbered (`000_003`, `person_7`), one of more than 50, or that of a folder of numbered
      frames that the other label does not have, of which there are ten, or several and the other label has videos
      too: a video, an identity;
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
        rest = names.interpret(place) if place.label else place.above
        if place.label is None and place.above and place.split is None:
            place.category = place.above[0]
        frames = folders[folder]
        place.is_video = (
            any(map(names.is_source, rest)) and bool(frames) and all(map(_FRAME.fullmatch, frames))
        )
    spellings = Counter(name.lower() for name in {place.category for place in places.values()} if name)
    for place in places.values():
        word = (place.category or "").lower()
        if word in CATEGORY_WORDS or spellings[word] > 1:  # `Animals` and `animals`
            place.category = word
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
        known = {folder: place for folder, place in places.items() if place.label}
        self.videos = {name.lower() for name in videos}
        self.categories = CATEGORY_WORDS | _numbers_from_zero(known.values())
        labels_of, no_clip, first, have_videos = defaultdict(set), set(), set(), set()
        for folder, place in known.items():
            for depth, name in enumerate(map(str.lower, place.below[:2])):
                if self.is_source(name):
                    have_videos.add(place.label)
                else:
                    labels_of[name].add(place.label)
                    first |= set() if depth else {name}
                    if depth < len(place.below) - 1 or not _holds_frames(folders[folder]):
                        no_clip.add(name)
        if len(first) > MAX_CATEGORIES:
            self.videos |= first
        else:
            self.categories |= {name for name, labels in labels_of.items() if len(labels) > 1}
            if 2 * len(first & self.categories) >= len(first):
                self.categories |= first
        strange = labels_of.keys() - no_clip - self.categories
        clips = {name: next(iter(labels_of[name])) for name in strange if not _KNOWN.fullmatch(name)}
        n_clips = Counter([*clips.values(), *have_videos, *have_videos])
        enough = 2 if sum(n > 1 for n in n_clips.values()) > 1 else _MANY_CLIPS
        self.videos |= {name for name, label in clips.items() if n_clips[label] >= enough}
        self.generators = first - self.categories - self.videos
        pairs = {tuple(place.above[:2]) for place in known.values() if len(place.above) > 1}
        parents, children = (Counter(pair[i] for pair in pairs) for i in (0, 1))
        self.above = {child.lower() for parent, child in pairs if parents[parent] > 1 or children[child] > 1}
        self.words = len({place.word for place in known.values() if place.word and place.label == "fake"}) > 1

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
        elif above and (
            self.words
            or above[-1].lower() in self.above
            or (len(above) == 1 and above[0].lower() in CATEGORY_WORDS)
        ):
            place.category = above.pop()
        if place.label == "fake":
            named = [*above[:1], *filter(None, (generator, self.words and place.word))]
            named.sort(key=lambda name: not _KNOWN.fullmatch(name.lower()))  # `Deepfakes` before `FF++`
            place.generator = next(iter(named), None)
        outer = next((name for name in below if self.is_source(name)), ">".join(below))
        if below:
            inner = sources_of(below[-1])
            place.sources = (*(sources_of(outer) or (outer,)), *(inner if len(inner) > 1 else ()))
        return below


def _numbers_from_zero(places: Collection[Place]) -> set[str]:
    """Return the names 0, 1, 2, … (or from 1 on) of the last folders below both labels; none where there are others."""
    names: dict[str, set[str]] = {"real": set(), "fake": set()}
    for place in places:
        names[place.label or ""] |= {"/".join(place.below)}
    n = len(names["real"])
    ranges = ({str(i) for i in range(n)}, {str(i + 1) for i in range(n)})
    is_range = names["real"] == names["fake"] and names["real"] in ranges
    return names["real"] if is_range and 2 <= n <= MAX_CATEGORIES else set()


def _holds_frames(images: Sequence[str]) -> bool:
    return 0 < len(images) <= _MAX_FRAMES and all(map(_FRAME.fullmatch, images))


def _shared_prefix(folders: Collection[Sequence[str]]) -> int:
    """Return how many first folders are the same for every image."""
    n, first = 0, next(iter(folders), ())
    while folders and all(len(parts) > n and parts[n] == first[n] for parts in folders):
        n += 1
    return n
