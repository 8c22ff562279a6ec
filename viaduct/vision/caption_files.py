"""Images with captions in the forms they are published in: COCO's JSON, Karpathy's splits, token files, line files.

A row is one image with all its captions in one language; an image without captions is no row. Captions keep their
words: white space at their ends goes, and a line end within one becomes a space. Archives that hold the images too are
in `captions_archives`.

Nothing here opens an image: a row says where its image is. A row has no image where the folder of images is absent (the
captions are still text to train on); an image that is missing from a folder that is there keeps its path, and `viaduct
check` counts it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from viaduct.errors import DataError, nearest, unknown
from viaduct.tasks.formats import aligned_lines, json_file, member, numbered_lines, text_lines, without_end
from viaduct.vision.rows import Captioned, Picture

ORIGINS = ("people", "machine", "names", "rules")
"""Who made captions, see `rows.Captioned`."""

FLICKR30K = ("flickr30k/flickr30k-images", "flickr30k/flickr30k_images")
"""Folders of Flickr30k's images below the data folder: as unpacked from the official archive, and from Kaggle's."""

FLICKR8K = ("flickr8k/Flicker8k_Dataset", "flickr8k/Images")

Place = int | str
"""Line number, or where in a JSON file."""

Numbered = Mapping[str, Mapping[int, str]]
"""Name of the image -> number of the caption -> caption."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_END = re.compile(r"\s*[\r\n]\s*")
_COCO_PHOTO = re.compile(r"COCO_(train|val)2014_(\d{12})\.jpg")
_FLICKR_PHOTO = re.compile(r"(\d+)(_[0-9a-z]+)?\.jpg")
_UNPARTED = re.compile(r"(\d+)\s+(\S.*)")
_KARPATHY = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


def failure(message: str, path: Path, place: Place, fix: str | None = None) -> DataError:
    """The error for something at this line or place of the file."""
    if isinstance(place, int):
        return DataError(message, path=path, line=place, fix=fix)
    return DataError(f"{place}: {message}", path=path, fix=fix)


def caption_text(given: object, path: Path, place: Place) -> str:
    """The caption without white space at its ends, on one line. Raises DataError for what is not text, or blank."""
    if not isinstance(given, str):
        raise failure(f"the caption is {type(given).__name__}, but must be text", path, place)
    if _SURROGATE.search(given):
        raise failure("the caption holds half a character (a lone surrogate)", path, place, "write it again as UTF-8")
    text = _LINE_END.sub(" ", given.strip())
    if not text:
        raise failure("the caption is empty", path, place, "remove it, or the image if it has no other")
    return text


def inside(folder: Path, name: object, path: Path, place: Place) -> Path:
    """The file of this name below the folder. Raises DataError for a name that is no text or leads out of the
    folder."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise failure(f"the name of the image is {name!r}, but must be text", path, place)
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise failure(f"the image '{name}' is not below {folder}", path, place, "use names relative to that folder")
    return folder / name


def find_picture(candidates: Iterable[Path]) -> Picture | None:
    """The first of these files that is there; else the first whose folder is there; else None."""
    paths = tuple(candidates)
    found = next((path for path in paths if path.is_file()), None)
    found = found or next((path for path in paths if path.parent.is_dir()), None)
    return None if found is None else Picture(str(found))


def photo_id(name: str) -> str:
    """The id of a photo of Flickr or COCO from its file name: its number there, the same in every dataset that has it.

    "1000268201_693b08cb0e.jpg" and "1000268201.jpg" -> "1000268201"; "COCO_val2014_000000391895.jpg" -> "391895"; other
    names without their ending.
    """
    if match := _COCO_PHOTO.fullmatch(name):
        return str(int(match[2]))
    match = _FLICKR_PHOTO.fullmatch(name)
    return match[1] if match else PurePosixPath(name).stem


def find_photo(data: Path, name: str, folders: Sequence[str]) -> Picture | None:
    """Where this photo is: one of COCO's in COCO's folders of 2014 or 2017, another one in the first of `folders`."""
    if match := _COCO_PHOTO.fullmatch(name):
        digits = f"{match[2]}.jpg"
        coco = data / "coco"
        return find_picture(
            (coco / f"{match[1]}2014" / name, coco / "train2017" / digits, coco / "val2017" / digits),
        )
    return find_picture(data / folder / name for folder in folders)


def part_of(seed: str, group: str) -> Literal["train", "dev", "test"]:
    """The split of this group: 80, 10 and 10 percent by the SHA-256 of seed and group, the same on every machine."""
    share = int.from_bytes(hashlib.sha256(f"{seed} {group}".encode()).digest()[:6], "big") / 2**48
    return "train" if share < 0.8 else "dev" if share < 0.9 else "test"


def read_coco(path: Path, language: str, folder: Path, origin: str | None) -> Iterator[Captioned]:
    """The images of a COCO captions file that have captions, in its order; ids are COCO's.

    The file's `info.origin` says who made the captions, else `origin`. Raises DataError when neither does, for an image
    or annotation id that occurs twice, an annotation of an image that is not listed, and captions that are not text.
    """
    content = json_file(path)
    info = content.get("info") if isinstance(content, Mapping) else None
    maker = info.get("origin", origin) if isinstance(info, Mapping) else origin
    if maker not in ORIGINS:
        raise DataError(
            f"it does not say who made the captions: info.origin is {maker!r}",
            path=path,
            fix=f"""add "origin": "machine" to its "info", or another one of {", ".join(ORIGINS)}""",
        )
    names: dict[str, Path] = {}
    for at, image in enumerate(member(path, content, "the file", "images", list)):
        place = f"images[{at}]"
        id = _coco_id(path, image, place, "id")
        if id in names:
            raise failure(f"the image id {id} occurs twice", path, place, "download the file again")
        names[id] = inside(folder, member(path, image, place, "file_name", str), path, place)
    captions = _coco_captions(path, member(path, content, "the file", "annotations", list), names)
    for id, file in names.items():
        if id in captions:
            yield Captioned(id, language, find_picture((file,)), tuple(captions[id]), maker)


def _coco_captions(path: Path, annotations: list[Any], names: Collection[str]) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    seen: set[str] = set()
    for at, annotation in enumerate(annotations):
        place = f"annotations[{at}]"
        id = _coco_id(path, annotation, place, "id")
        if id in seen:
            raise failure(f"the annotation id {id} occurs twice", path, place, "download the file again")
        seen.add(id)
        image = _coco_id(path, annotation, place, "image_id")
        if image not in names:
            raise failure(f"no image has the id {image}", path, place, "list the image under `images`")
        captions.setdefault(image, []).append(caption_text(annotation.get("caption"), path, place))
    return captions


def _coco_id(path: Path, given: object, place: str, key: str) -> str:
    if not isinstance(given, Mapping) or key not in given:
        raise failure(f"it has no '{key}'", path, place, "give a captions file of COCO's form")
    value = given[key]
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise failure(f"'{key}' is {value!r}, but must be a number or text", path, place)
    return str(value)


def read_karpathy(path: Path, language: str, split: str, data: Path, folders: Sequence[str]) -> Iterator[Captioned]:
    """One split of dataset_coco.json, dataset_flickr30k.json or dataset_flickr8k.json; "restval" belongs to train.

    Ids are COCO's or Flickr's numbers; images are looked for as in `find_photo`. The raw sentences are read, not the
    tokens. Raises DataError for an image of an unknown split, without sentences, or with captions that are not text.
    """
    for at, image in enumerate(member(path, json_file(path), "the file", "images", list)):
        place = f"images[{at}]"
        word = member(path, image, place, "split", str)
        if word not in _KARPATHY:
            raise failure(str(unknown("split", word, _KARPATHY)), path, place)
        if _KARPATHY[word] != split:
            continue
        name = member(path, image, place, "filename", str)
        inside(data, name, path, place)
        sentences = member(path, image, place, "sentences", list)
        if not sentences:
            raise failure(f"the image '{name}' has no sentences", path, place, "download the file again")
        captions = tuple(
            caption_text(member(path, one, f"{place}.sentences[{n}]", "raw", str), path, f"{place}.sentences[{n}]")
            for n, one in enumerate(sentences)
        )
        yield Captioned(photo_id(name), language, find_photo(data, name, folders), captions, "people")


def read_tokens(path: Path, separator: str = "\t") -> Numbered:
    """The captions of a token file: `1000268201_693b08cb0e.jpg#0`, the separator, the caption.

    There may be a tag between the name and the number (`...jpg#zhm#0`). Raises DataError with the line for another
    form, and an image that has a number twice.
    """
    captions: dict[str, dict[int, str]] = {}
    for line, text in numbered_lines(path):
        key, parted, caption = without_end(text).partition(separator)
        name, _, number = key.partition("#")
        number = number.rpartition("#")[2]
        if not parted or not name or not number.isdecimal():
            raise DataError("not `image#number`, a separator and a caption", path=path, line=line, fix=_WHOLE)
        _add(captions, name, int(number), caption_text(caption, path, line), path, line)
    return captions


_WHOLE = "download the file again: it may be cut off or of another form"


def _add(captions: dict[str, dict[int, str]], name: str, number: int, text: str, path: Path, line: int) -> None:
    if number in captions.setdefault(name, {}):
        raise DataError(f"caption {number} of '{name}' occurs twice", path=path, line=line, fix="remove one of them")
    captions[name][number] = text


def read_pipes(path: Path, unparted: Collection[tuple[str, int]] = ()) -> Numbered:
    """The captions of a file with the header `image_name| comment_number| comment`.

    `unparted` names the (image, number) whose line is known to lack the second bar: there the first white space after
    the number parts it from the caption. Raises DataError with the line for any other line without two bars, another
    header, a number that is none, and an image that has a number twice.
    """
    captions: dict[str, dict[int, str]] = {}
    for line, text in numbered_lines(path):
        fields = [field.strip() for field in without_end(text).split("|", 2)]
        if line == 1:
            if fields != ["image_name", "comment_number", "comment"]:
                message = f"the header is '{without_end(text)}', not 'image_name| comment_number| comment'"
                raise DataError(message, path=path, line=1)
            continue
        if len(fields) == 2 and (match := _UNPARTED.fullmatch(fields[1])) and (fields[0], int(match[1])) in unparted:
            fields = [fields[0], match[1], match[2]]
        if len(fields) != 3 or not fields[1].isdecimal():
            raise DataError(
                f"not `image| number| caption`: '{without_end(text)[:60]}'",
                path=path,
                line=line,
                fix="part name, number and caption by bars",
            )
        _add(captions, fields[0], int(fields[1]), caption_text(fields[2], path, line), path, line)
    return captions


def listed_photos(
    images: Path, captions: Numbered, language: str, data: Path, folders: Sequence[str]
) -> Iterator[Captioned]:
    """The images of a list (one file name per line) with their captions in the order of their numbers.

    Raises DataError with the list's line for an image without captions, and a name that occurs twice.
    """
    seen: set[str] = set()
    for line, name in enumerate(text_lines(images), start=1):
        if name in seen:
            raise DataError(f"the image '{name}' occurs twice", path=images, line=line, fix="remove one of them")
        if name not in captions:
            close = nearest(name, captions)
            hint = f" Did you mean '{close}'?" if close else ""
            raise DataError(f"there are no captions of '{name}'.{hint}", path=images, line=line)
        seen.add(name)
        inside(data, name, images, line)
        texts = tuple(captions[name][number] for number in sorted(captions[name]))
        yield Captioned(photo_id(name), language, find_photo(data, name, folders), texts, "people")


def aligned_photos(
    images: Path, captions: Sequence[Path], language: str, data: Path, folders: Sequence[str]
) -> Iterator[Captioned]:
    """Line i of each caption file describes line i of the list of images (`name.jpg`, or `name.jpg#number`).

    Raises DataError when the numbers of lines differ, for blank lines, and for an image that occurs twice.
    """
    columns = [aligned_lines(images, path) for path in captions]
    seen: set[str] = set()
    for line, pairs in enumerate(zip(*columns, strict=True), start=1):
        name = pairs[0][0].partition("#")[0]
        if name in seen:
            raise DataError(f"the image '{name}' occurs twice", path=images, line=line, fix="remove one of them")
        seen.add(name)
        inside(data, name, images, line)
        texts = tuple(caption_text(pair[1], path, line) for pair, path in zip(pairs, captions, strict=True))
        yield Captioned(photo_id(name), language, find_photo(data, name, folders), texts, "people")
