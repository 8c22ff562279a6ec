"""What published caption files share: checks of captions and image names, where photos are, two of the file formats.

A row is one image with all its captions in one language; an image without captions is no row. The words of a caption
are kept: white space at its ends is stripped, and a line break inside it becomes a space. No image is opened here; a
row says where its image is. It has no image if the image folder is absent (the captions can still be trained on as
text). An image missing from an existing folder keeps its path, and `viaduct check` counts it. Files that also contain
the images are read in `archives`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from viaduct.errors import DataError, nearest, shortened, unknown
from viaduct.tasks.card import Files, Reader
from viaduct.tasks.formats import json_file, member, no_line_end, numbered_lines, text_lines, without_end
from viaduct.tasks.used_files import looked_in
from viaduct.vision.rows import Captioned, Picture

ORIGINS = ("people", "machine", "names", "rules")
"""Who made captions, see `rows.Captioned`."""

FLICKR30K = ("flickr30k/flickr30k-images", "flickr30k/flickr30k_images")
"""Folders of Flickr30k's images below the data folder: as unpacked from the official archive, and from Kaggle's."""

LONGEST_NAME = 255
"""Longest file name on any system, in bytes."""

PlaceInFile = int | str
"""Line number, or a place in a JSON file."""

Numbered = dict[str, dict[int, str]]
"""Name of the image -> number of the caption -> caption."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_END = re.compile(r"\s*[\r\n]\s*")
_COCO_PHOTO = re.compile(r"COCO_(train|val)2014_(\d{12})\.jpg")
_FLICKR_PHOTO = re.compile(r"(\d+)(_[0-9a-z]+)?\.jpg")
_KARPATHY = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


def failure(message: str, path: Path, place: PlaceInFile, fix: str | None = None) -> DataError:
    """The error for a problem at this line or place of the file."""
    if isinstance(place, int):
        return DataError(message, path=path, line=place, fix=fix)
    return DataError(f"{place}: {message}", path=path, fix=fix)


def caption_text(given: object, path: Path, place: PlaceInFile) -> str:
    """The caption without white space at its ends, on one line. Raises DataError if it is not text, or blank."""
    if not isinstance(given, str):
        raise failure(f"the caption is {type(given).__name__}, but must be text", path, place)
    if _SURROGATE.search(given):
        raise failure("the caption holds half a character (a lone surrogate)", path, place, "rewrite it as UTF-8")
    text = _LINE_END.sub(" ", given.strip())
    if not text:
        raise failure("the caption is empty", path, place, "remove it, or the image if it has no other")
    return text


def path_below(folder: Path, name: object, path: Path, place: PlaceInFile) -> Path:
    """The file of this name below the folder. Raises DataError if the name is not text, too long or leads out of it."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise failure(f"the name of the image is {name!r}, but must be text", path, place)
    if max(len(part.encode("utf-8", "replace")) for part in name.split("/")) > LONGEST_NAME:
        raise failure(f"the name of the image is too long: {shortened(name)}", path, place)
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise failure(f"the image '{name}' is not below {folder}", path, place, "use names relative to that folder")
    return folder / name


def find_picture(*candidates: Path) -> Picture | None:
    """The first of these files that exists; else the first whose folder exists; else None."""
    for path in candidates:
        looked_in(path.parent)
    found = next((path for path in candidates if path.is_file()), None)
    found = found or next((path for path in candidates if path.parent.is_dir()), None)
    return None if found is None else Picture(str(found))


def part_of(seed: str, group: str) -> Literal["train", "dev", "test"]:
    """The split of this group: 80, 10 and 10 percent by the SHA-256 of seed and group, the same on every machine."""
    share = int.from_bytes(hashlib.sha256(f"{seed} {group}".encode()).digest()[:6], "big") / 2**48
    return "train" if share < 0.8 else "dev" if share < 0.9 else "test"


@dataclass(frozen=True)
class Photos:
    """The photos of Flickr and COCO below a data folder; Flickr's are looked for in `folders`."""

    data: Path
    folders: tuple[str, ...] = ()
    _there: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    def row(self, name: str, captions: Iterable[str], language: str, path: Path, place: PlaceInFile) -> Captioned:
        """The row of a photo that is named at this place of a file. Raises DataError if its name leads outside."""
        path_below(self.data, name, path, place)
        return Captioned(photo_id(name), language, self.find(name), tuple(captions), "people")

    def find(self, name: str) -> Picture | None:
        """Where a photo is: COCO's in its folders of 2014 or 2017, any other in the first of `folders` that has it."""
        if match := _COCO_PHOTO.fullmatch(name):
            digits = f"{match[2]}.jpg"
            return self._first({f"coco/{match[1]}2014": name, "coco/train2017": digits, "coco/val2017": digits})
        return self._first(dict.fromkeys(self.folders, name))

    def _first(self, names: Mapping[str, str]) -> Picture | None:
        """`find_picture` in the folders that exist. Most caption sets come without their photos, and checking once per
        folder is much cheaper than once per photo."""
        for folder in names.keys() - self._there.keys():
            self._there[folder] = (self.data / folder).is_dir()
        for folder in names:
            looked_in(self.data / folder)
        return find_picture(*(self.data / folder / name for folder, name in names.items() if self._there[folder]))


def photo_id(name: str) -> str:
    """The id of a photo of Flickr or COCO from its file name: its number there, the same in every dataset that has it.

    "1000268201_693b08cb0e.jpg" and "1000268201.jpg" -> "1000268201"; "COCO_val2014_000000391895.jpg" -> "391895"; other
    names lose their extension.
    """
    if match := _COCO_PHOTO.fullmatch(name):
        return str(int(match[2]))
    match = _FLICKR_PHOTO.fullmatch(name)
    return match[1] if match else PurePosixPath(name).stem


def karpathy_split(*folders: str) -> Reader:
    """A reader of one split of dataset_coco.json, dataset_flickr30k.json or dataset_flickr8k.json, which are in a
    subfolder of the data folder; "restval" belongs to train.

    The raw sentences are read, not the tokens. Raises DataError for an image of an unknown split, without sentences, or
    with captions that are not text.
    """

    def read(files: Files, language: str, split: str) -> Iterator[Captioned]:
        path = files["rows"][0]
        photos = Photos(path.parents[1], folders)
        for at, image in enumerate(member(path, json_file(path), "the file", "images", list)):
            place = f"images[{at}]"
            word = member(path, image, place, "split", str)
            if word not in _KARPATHY:
                raise failure(str(unknown("split", word, _KARPATHY)), path, place)
            if _KARPATHY[word] != split:
                continue
            name = member(path, image, place, "filename", str)
            sentences = member(path, image, place, "sentences", list)
            if not sentences:
                raise failure(f"the image '{name}' has no sentences", path, place, "download the file again")
            captions = []
            for number, one in enumerate(sentences):
                where = f"{place}.sentences[{number}]"
                captions.append(caption_text(member(path, one, where, "raw", str), path, where))
            yield photos.row(name, captions, language, path, place)

    return read


def listed_photos(captions_of: Callable[[Path, str], Numbered], up: int, *folders: str) -> Reader:
    """A reader of the images in a list (one file name per line), with each image's captions in order of their numbers.

    `captions_of` reads the captions file, given its language; `up`: how many folders deep that file is in the data
    folder. Raises DataError with the list's line number for an image without captions, and a name that occurs twice.
    """

    def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
        listed, path = files["images"][0], files["rows"][0]
        captions = captions_of(path, language)
        photos = Photos(path.parents[up], folders)
        for line, name in once(text_lines(listed), listed):
            if name not in captions:
                close = nearest(name, captions)
                hint = f" Did you mean '{close}'?" if close else ""
                raise DataError(f"there are no captions of '{name}'.{hint}", path=listed, line=line)
            texts = [captions[name][number] for number in sorted(captions[name])]
            yield photos.row(name, texts, language, listed, line)

    return read


def once(names: Iterable[str], path: Path) -> Iterator[tuple[int, str]]:
    """(line, name) of each image in a list. Raises DataError for a name that occurs twice."""
    seen: set[str] = set()
    for line, name in enumerate(names, start=1):
        if name in seen:
            raise DataError(f"the image '{name}' occurs twice", path=path, line=line, fix="remove one of them")
        seen.add(name)
        yield line, name


def read_tokens(path: Path, separator: str = "\t") -> Numbered:
    """The captions of a token file: `1000268201_693b08cb0e.jpg#0`, the separator, the caption.

    There may be a tag between the name and the number (`...jpg#zhm#0`). Raises DataError with the line number for any
    other format, a number that occurs twice for an image, and a last line without a line end, whose caption may be cut.
    """
    captions: Numbered = {}
    line, text = 0, ""
    for line, text in numbered_lines(path):
        key, parted, caption = without_end(text).partition(separator)
        name, _, number = key.partition("#")
        number = number.rpartition("#")[2]
        if not parted or not name or not number.isdecimal() or len(number) > 9:
            fix = "download the file again: it may be cut off or in another format"
            raise DataError("not `image#number`, a separator and a caption", path=path, line=line, fix=fix)
        add_caption(captions, name, int(number), caption, path, line)
    if not text.endswith("\n"):
        raise no_line_end(path, line)
    return captions


def add_caption(captions: Numbered, name: str, number: int, caption: str, path: Path, line: int) -> None:
    """Add a caption. Raises DataError if it is not text or is blank, and if the image already has this number."""
    text = caption_text(caption, path, line)
    if number in captions.setdefault(name, {}):
        raise DataError(f"caption {number} of '{name}' occurs twice", path=path, line=line, fix="remove one of them")
    captions[name][number] = text
