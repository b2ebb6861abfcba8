"""Data sets from where they live: the Hugging Face hub and Kaggle."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from dfdlib.core import paths
from dfdlib.core.errors import DfdError, first_line, unknown
from dfdlib.core.files import write_json
from dfdlib.core.progress import Progress

KAGGLE = "https://www.kaggle.com"
_NOTE = ".dfd-fetch.json"
"""Says what a folder was fetched from, and where it lies once it is whole."""
_SECONDS = 8
"""To wait for the first answer of a hub."""


@dataclass(frozen=True)
class Known:
    """A public data set. What its hub says of size and licence when it is fetched is newer."""

    home: str
    """`hf:owner/name` or `kaggle:owner/name`."""
    images: str
    """About how many."""
    size: str
    licence: str
    layout: str
    """What is in it; `docs/layouts.md` says how it is read."""


_TABLE = """
cifake            | kaggle:birdy654/cifake-real-and-ai-generated-synthetic-images | 120,000 | 0.1 GB | MIT, as CIFAR-10 | {train,test}/{REAL,FAKE}; 32 px, Stable Diffusion 1.4
deepfake-and-real | kaggle:manjilkarki/deepfake-and-real-images | 190,000 | see its page | see its page | Dataset/{Train,Validation,Test}/{Real,Fake}; faces of OpenForensics
140k-faces        | kaggle:xhlulu/140k-real-and-fake-faces | 140,000 | 4 GB | see its page; of FFHQ CC BY-NC-SA 4.0 | real-vs-fake/{train,valid,test}/{real,fake}; StyleGAN
artifact          | kaggle:awsaf49/artifact-dataset | 2,497,000 | see its page | of each source its own, some non-commercial | <generator>/metadata.csv; 25 generators
ai-genbench       | hf:lrzpellegrini/AI-GenBench-fake_part | 180,000 | 35 GB | of each source its own, see its card | parquet; fakes alone, of 36 generators
aigibench         | hf:TheKernel01/AIGIBench | 308,000 | 61 GB | CC BY-NC-SA 4.0 | parquet; ProGAN, Stable Diffusion 1.4
openfake          | hf:ComplexDataLab/OpenFake | 665,000 | 414 GB | CC BY-NC 4.0, see its card | parquet; many generators
"""
KNOWN = {
    name: Known(*facts) for name, *facts in (re.split(r" +\| ", row) for row in _TABLE.strip().splitlines())
}
"""Public data sets by a short name."""


def is_address(text: str) -> bool:
    """Whether a text is the address of a data set on a hub, `hf:owner/name` or `kaggle:owner/name`."""
    hub, colon, _ = text.partition(":")
    return bool(colon) and hub in _HUBS


def fetch(name: str, to: str | Path | None = None) -> Path:
    """Download a data set, or go on where that was broken off; say its size and licence before.

    Files that are whole are not fetched again. What is whole already needs no network.

    Args:
        name: One of `KNOWN`, or an address, `hf:owner/name` or `kaggle:owner/name`.
        to: The folder; by default of that name in the data folder.

    Returns:
        The folder with the data; on Kaggle and Colab where they have it already.

    Raises:
        DfdError: No such data set, no network, no library for that hub, no room, or a folder that holds something else.
    """
    address = KNOWN[name].home if name in KNOWN else name
    hub, _, repository = address.partition(":")
    owner, _, own_name = repository.partition("/")
    if hub not in _HUBS or not owner or not own_name or "/" in own_name:
        raise unknown("data set", name, [*KNOWN, "hf:owner/name", "kaggle:owner/name"])
    folder = Path(to) if to else paths.data_root() / (name if name in KNOWN else own_name)
    note = folder / _NOTE
    said = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if said.get("address", address) != address or (not said and folder.exists() and any(folder.iterdir())):
        what = said.get("address", "something else")
        raise DfdError(f"{folder} holds {what}; name another folder: dfd fetch {name} --to FOLDER.")
    if (whole := said.get("folder")) and (folder / whole).is_dir():
        return folder / whole
    try:
        whole = _HUBS[hub](repository, folder)
    except DfdError:
        raise
    except Exception as error:  # the hubs raise the errors of several HTTP libraries
        raise _failed(address, error) from error
    write_json(note, {"address": address, "folder": str(whole)})
    return folder / whole


def _from_hf(repository: str, folder: Path) -> str:
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi().dataset_info(repository, timeout=_SECONDS, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings}
    have = sum(size for name, size in sizes.items() if _size(folder / name) == size)
    licence = (info.card_data or {}).get("license")
    _announce(f"hf:{repository}", sum(sizes.values()), have, licence, folder)
    snapshot_download(
        repository, repo_type="dataset", revision=info.sha, local_dir=folder, tqdm_class=Progress
    )
    broken = [name for name, size in sizes.items() if _size(folder / name) != size]
    if broken:
        raise DfdError(
            f"{len(broken)} of {len(sizes)} files of hf:{repository} are not whole in {folder}, e.g. {broken[0]}; "
            "fetch again, which goes on from here."
        )
    return "."


def _from_kaggle(repository: str, folder: Path) -> str:
    try:
        import kagglehub
    except ImportError:
        raise DfdError("Kaggle needs the library kagglehub; run: pip install 'dfdlib[fetch]'.") from None

    view = f"{KAGGLE}/api/v1/datasets/view/{repository}"
    with urllib.request.urlopen(view, timeout=_SECONDS) as answer:
        about = json.load(answer)
    _announce(f"kaggle:{repository}", about.get("totalBytes"), 0, about.get("licenseName"), folder)
    # The archive stays on the disk of the data until it is unpacked, and is what a second try goes on with.
    waiting = folder / ".kagglehub"
    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(waiting)
    try:
        found = Path(kagglehub.dataset_download(repository))
    finally:
        os.environ.pop("KAGGLEHUB_CACHE")
        if before is not None:
            os.environ["KAGGLEHUB_CACHE"] = before
    if not found.is_relative_to(waiting):
        return str(found)
    for entry in found.iterdir():
        entry.replace(folder / entry.name)
    shutil.rmtree(waiting)
    return "."


_HUBS = {"hf": _from_hf, "kaggle": _from_kaggle}


def _announce(address: str, size: int | None, have: int, licence: str | None, folder: Path) -> None:
    """Say what will be downloaded, and note it in the folder. Raises `DfdError` where there is no room for it."""
    folder.mkdir(parents=True, exist_ok=True)
    left, free = (size or 0) - have, shutil.disk_usage(folder).free
    known = f"{_gigabytes(size)}, {_gigabytes(left)} to download" if size else "of unknown size"
    print(f"{address}: {known}, into {folder}; licence: {licence or 'not stated'}.", file=sys.stderr)
    if left > free:
        raise DfdError(
            f"{address} needs {_gigabytes(left)}, and the disk of {folder} has {_gigabytes(free)}; name a folder on "
            "a larger one: dfd fetch NAME --to FOLDER."
        )
    write_json(folder / _NOTE, {"address": address})


def _failed(address: str, error: Exception) -> DfdError:
    """Return the sentence for what a hub's library raised."""
    from huggingface_hub.constants import ENDPOINT

    hub, _, repository = address.partition(":")
    site = ENDPOINT if hub == "hf" else KAGGLE
    page = f"{site}/datasets/{repository}"
    status = getattr(getattr(error, "response", None), "status_code", getattr(error, "code", None))
    if status in (401, 403, 404):
        return DfdError(
            f"{page} does not exist, or is not open to you (status {status}); look at it in a browser, accept its "
            f"terms, and log in with {'`hf auth login`' if hub == 'hf' else 'a Kaggle API token'}."
        )
    return DfdError(
        f"{page} cannot be downloaded ({type(error).__name__}: {first_line(error)}). With a network the same command goes on "
        f"where it stopped; by hand, download the page's files, unpack them into a folder, and pass that folder instead "
        f"of {address}."
    )


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
