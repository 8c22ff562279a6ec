"""Your own images with captions: a WebDataset tar, a folder with metadata, or Parquet with the images inside.

`webdataset`, `imagefolder` and `parquet_pictures` make readers for a card (docs/adding_a_task.md). Nothing is unpacked:
a row records which member of the tar file, or row of the Parquet file, has its image; `images` reads it from there.

A caption field holds one caption, a list of captions, or an object with either of these per language; objects without
the requested language are skipped. Images with the same id become one row with all their captions.
"""

from __future__ import annotations

import tarfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from viaduct.errors import DataError, NoRowsError, unknown
from viaduct.tasks.card import Files, Reader
from viaduct.tasks.formats import csv_columns, json_lines, parquet, parquet_file
from viaduct.tasks.hashes import Stamp, stamp
from viaduct.tasks.json_text import json_value
from viaduct.tasks.opening import require_data
from viaduct.tasks.used_files import looked_in
from viaduct.vision.caption_files import ORIGINS, PlaceInFile, caption_text, failure, path_below
from viaduct.vision.rows import Captioned, Picture

PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
"""Extensions of image files in a tar file, in upper or lower case."""

Samples = Iterator[tuple[str, Picture, tuple[str, ...] | None]]
"""(id, image, captions) of each sample; captions are None if it has none in the language."""

_DOWNLOAD = "download the file again: it may be cut off"
_NAMES = "give every image its own name"


class Extent(NamedTuple):
    """Where the bytes of a tar member are in the file."""

    offset: int
    size: int


def tar_members(path: Path) -> Mapping[str, Extent]:
    """Name -> extent of every file in an uncompressed tar file, in its order; cached while the tar file is unchanged.

    Raises DataError for a file that is missing, compressed, damaged or cut off, and for members that are links, devices
    or sparse files, that occur twice, or whose names are absolute or contain "..".
    """
    try:
        return _tar_members(path, stamp(path))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


@lru_cache(maxsize=16)
def _tar_members(path: Path, _stamp: Stamp) -> Mapping[str, Extent]:
    members: dict[str, Extent] = {}
    try:
        require_data(path)
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if (fault := _fault(member, members)) is not None:
                    raise DataError(f"the member '{member.name}' {fault[0]}", path=path, fix=fault[1])
                if member.isfile():
                    members[member.name] = Extent(member.offset_data, member.size)
            end = archive.offset
            file.seek(end)
            mark = file.read(tarfile.BLOCKSIZE)
            is_joined = any(block.strip(b"\0") for block in iter(lambda: file.read(1 << 20), b""))
    except (tarfile.TarError, OSError, ValueError) as error:
        fix = "unpack it with gunzip if compressed, or copy it again"
        raise DataError(f"cannot be read as a tar file: {error}", path=path, fix=fix) from error
    if mark != bytes(tarfile.BLOCKSIZE):  # tarfile itself treats a damaged or partial header as the end
        raise DataError(f"the tar file is damaged or cut off at byte {end:,}", path=path, fix=_DOWNLOAD)
    if is_joined:
        fix = "join tar files with `tar --concatenate`, or keep each of them"
        raise DataError(f"more data follow the archive's end at byte {end:,}", path=path, fix=fix)
    return members


def _fault(member: tarfile.TarInfo, members: Mapping[str, Extent]) -> tuple[str, str] | None:
    """(what is wrong with a member, how to fix it); None if nothing is wrong."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        return "leads out of the archive", "recreate the tar file"
    if not (member.isfile() or member.isdir()) or member.issparse():
        return "is a link, a device or sparse", "add plain files"
    return ("occurs twice", "remove one of them") if member.name in members else None


def tar_bytes(path: Path, extent: Extent) -> bytes:
    """The bytes of one member."""
    with path.open("rb") as file:
        file.seek(extent.offset)
        return file.read(extent.size)


def image_column(path: Path) -> str:
    """The Parquet file's column of {bytes, path} objects. Raises DataError if there is none or more than one."""
    import pyarrow

    schema = parquet_file(path).schema_arrow
    found = [
        column.name
        for column in schema
        if pyarrow.types.is_struct(column.type) and {"bytes", "path"} <= {field.name for field in column.type}
    ]
    if len(found) != 1:
        there = ", ".join(f"{column.name} ({column.type})" for column in schema)
        raise DataError(
            f"{len(found)} columns of images (objects with `bytes` and `path`), not one; its columns: {there}",
            path=path,
            fix="keep one such column, as `datasets` writes it with the feature Image",
        )
    return str(found[0])


def parquet_bytes(path: Path, row: int) -> tuple[bytes | None, int]:
    """(the image's bytes in this row or None, the number of rows). Raises DataError for a damaged file.

    Rows are mostly read in order, and a row group is the smallest readable unit, so the last groups are cached.
    """
    known = stamp(path)
    starts = _row_groups(path, known)
    if row >= starts[-1]:
        return None, starts[-1]
    group = bisect_right(starts, row) - 1
    content = _row_group(path, known, group)[row - starts[group]].as_py()
    return content, starts[-1]


@lru_cache(maxsize=16)
def _row_groups(path: Path, _stamp: Stamp) -> tuple[int, ...]:
    """The index of each row group's first row, then the number of rows."""
    metadata = parquet_file(path).metadata
    return tuple(accumulate((metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)), initial=0))


@lru_cache(maxsize=2)
def _row_group(path: Path, _stamp: Stamp, group: int) -> Any:
    """The images' bytes in one row group."""
    import pyarrow

    try:
        table = parquet_file(path).read_row_group(group, columns=[f"{image_column(path)}.bytes"])
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"row group {group} cannot be read: {error}", path=path, fix="copy the file again") from error
    return table.flatten().column(0)


def _reader(origin: str, samples_of: Callable[[Sequence[Path], str], Samples]) -> Reader:
    """A reader that merges the captions of each id. Raises NoRowsError if there are none in the language."""
    if origin not in ORIGINS:
        raise unknown("origin of captions", origin, ORIGINS)

    def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
        pictures: dict[str, Picture] = {}
        captions: dict[str, tuple[str, ...]] = {}
        looked_in(files["rows"][0].parent)
        for name, picture, found in samples_of(files["rows"], language):
            looked_in(Path(picture.path).parent)
            if found is not None:
                pictures.setdefault(name, picture)
                captions[name] = captions.get(name, ()) + found
        if not captions:
            raise NoRowsError(f"no image has captions in '{language}'", path=files["rows"][0])
        for name, picture in pictures.items():
            yield Captioned(name, language, picture, captions[name], origin)

    return read


def _captions(value: object, language: str, path: Path, place: PlaceInFile) -> tuple[str, ...] | None:
    """The captions in one field; None if it is an object without this language."""
    if isinstance(value, Mapping):
        if value.get(language) is None:
            return None
        value = value[language]
    given = value if isinstance(value, list) else [value]
    if not given:
        raise failure("the list of captions is empty", path, place, "remove the image, or give it a caption")
    return tuple(caption_text(one, path, place) for one in given)


def webdataset(*, origin: str) -> Reader:
    """A reader of WebDataset tar files, in which an image and its captions share the name up to its first dot.

    `NAME.json` has the field "caption" or "captions" (see the module docstring); otherwise `NAME.txt` has one caption
    per line. Other members are ignored. Ids are the names. Raises DataError for an image without captions, captions
    without an image, two images with one name, a name that occurs in two tar files, and whatever `tar_members` refuses.
    """

    def samples_of(paths: Sequence[Path], language: str) -> Samples:
        found: dict[str, Path] = {}
        for path in paths:
            for name, members in _tar_samples(path).items():
                if found.setdefault(name, path) != path:
                    raise DataError(f"the sample '{name}' is also in {found[name].name}", path=path, fix=_NAMES)
                images = [member for ending, member in members.items() if ending in PICTURES]
                if len(images) != 1:
                    raise DataError(
                        f"the sample '{name}' has {len(images)} images (its members: {', '.join(members.values())})",
                        path=path,
                        fix="one image per name; the name ends at the first dot",
                    )
                yield name, Picture(str(path), images[0]), _tar_captions(path, name, members, language)

    return _reader(origin, samples_of)


def _tar_samples(path: Path) -> dict[str, dict[str, str]]:
    """Name -> {ending: member}, in the order of the tar file."""
    samples: dict[str, dict[str, str]] = {}
    for member in tar_members(path):
        folder, slash, file = member.removeprefix("./").rpartition("/")
        stem, _, ending = file.partition(".")
        endings = samples.setdefault(folder + slash + stem, {})
        if endings.setdefault(ending.lower(), member) != member:
            message = f"the members '{endings[ending.lower()]}' and '{member}' differ only in case"
            raise DataError(message, path=path, fix=_NAMES)
    used = {*PICTURES, "json", "txt"}
    return {name: endings for name, endings in samples.items() if used & set(endings)}


def _tar_captions(path: Path, name: str, members: Mapping[str, str], language: str) -> tuple[str, ...] | None:
    """The sample's captions; None if it has none in this language."""
    contents = {ending: tar_bytes(path, tar_members(path)[members[ending]]) for ending in {"json", "txt"} & {*members}}
    try:
        fields = json_value(contents.get("json", b"null"))
    except DataError as error:
        raise DataError(f"member {members['json']}: {error}", path=path) from error
    for key in ("caption", "captions"):
        if isinstance(fields, Mapping) and fields.get(key) is not None:
            return _captions(fields[key], language, path, f"member {members['json']}")
    if "txt" not in contents:
        fix = f"add {name}.txt, or {name}.json with a 'caption'"
        raise DataError(f"the image '{name}' has no captions", path=path, fix=fix)
    try:
        lines = contents["txt"].decode("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"member {members['txt']}: not UTF-8: {error.reason}", path=path) from error
    return _captions(lines, language, path, f"member {members['txt']}")


def imagefolder(*, caption: str, origin: str) -> Reader:
    """A reader of a folder of images with a metadata.jsonl or metadata.csv (the Hub's "imagefolder").

    The metadata has the columns file_name (relative to the metadata's folder) and `caption`, in which "{language}" is
    replaced by the language code. Ids are the file names; a file name on several lines has several captions. Raises
    DataError with the line number for missing columns, a file name that leads out of the folder or occurs in two
    folders, and captions that are not text.
    """

    def samples_of(paths: Sequence[Path], language: str) -> Samples:
        names = ("file_name", caption.format(language=language))
        found: dict[str, Path] = {}
        for path in paths:
            for line, (name, value) in (csv_columns if path.suffix == ".csv" else json_lines)(path, names):
                image = path_below(path.parent, name, path, line)
                if found.setdefault(name, path) != path:
                    raise failure(f"the image '{name}' is also in {found[name]}", path, line, _NAMES)
                yield name, Picture(str(image)), _captions(value, language, path, line)

    return _reader(origin, samples_of)


def parquet_pictures(*, caption: str, origin: str, id: str | None = None) -> Reader:
    """A reader of Parquet files with the images inside, as the Hub stores them: a column of {bytes, path} objects.

    `caption` names the column of captions, with "{language}" replaced by the language code; `id` names the column of
    ids (None: ids are row numbers from 0). Raises DataError for missing columns and values, captions that are not text,
    and whatever `image_column` refuses.
    """

    def samples_of(paths: Sequence[Path], language: str) -> Samples:
        column = caption.format(language=language)
        rows = parquet(paths, (column,) if id is None else (column, id))
        for number, (picture, (value, *given)) in enumerate(zip(_parquet_places(paths), rows, strict=True)):
            found = _captions(value, language, Path(picture.path), f"row {picture.member}")
            yield str(given[0]) if given else str(number), picture, found

    return _reader(origin, samples_of)


def _parquet_places(paths: Sequence[Path]) -> Iterator[Picture]:
    for path in paths:
        image_column(path)
        for row in range(parquet_file(path).metadata.num_rows):
            yield Picture(str(path), str(row))
