"""Images of one's own with captions: a WebDataset tar, a folder with metadata, or Parquet with the images inside.

`webdataset`, `imagefolder` and `parquet_pictures` make readers for a card (docs/adding_a_task.md). Nothing is unpacked:
a row says in which member of the tar file, or row of the Parquet file, its image is; `encode.images` reads it there.

A caption field holds one caption, a list of captions, or an object with either of these per language: then the rows
that have the language are read. Images that have the same id are one row with all their captions.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from viaduct.errors import DataError, NoRowsError, unknown
from viaduct.rows import Row
from viaduct.tasks.card import Files, Reader
from viaduct.tasks.formats import json_lines, numbered_lines, parquet
from viaduct.vision.caption_files import ORIGINS, Place, caption_text, failure, inside
from viaduct.vision.rows import Captioned, Picture

PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
"""Endings of image files in a tar file, in any case."""

_DOWNLOAD = "download the file again: it may be cut off"


class Extent(NamedTuple):
    """Where the bytes of a tar member are in the file."""

    offset: int
    size: int


def tar_members(path: Path) -> Mapping[str, Extent]:
    """Name -> extent of every file in an uncompressed tar file, in its order; remembered while the file is unchanged.

    Raises DataError for a file that is missing, compressed, damaged or cut off, and for members that are links or
    devices, that occur twice, or whose names are absolute or hold "..".
    """
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    return _tar_members(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=16)
def _tar_members(path: Path, _size: int, _changed: int) -> Mapping[str, Extent]:
    members: dict[str, Extent] = {}
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                _check_member(path, member, members)
                if member.isfile():
                    members[member.name] = Extent(member.offset_data, member.size)
            end = archive.offset
            file.seek(end)
            mark = file.read(tarfile.BLOCKSIZE)
    except (tarfile.TarError, OSError, ValueError) as error:
        fix = "unpack a compressed one with gunzip, or copy it again"
        raise DataError(f"cannot be read as a tar file: {error}", path=path, fix=fix) from error
    if mark != bytes(tarfile.BLOCKSIZE):  # tarfile itself stops at a damaged or half header as if it were the end
        raise DataError(f"the tar file is damaged or cut off at byte {end:,}", path=path, fix=_DOWNLOAD)
    return members


def _check_member(path: Path, member: tarfile.TarInfo, members: Mapping[str, Extent]) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise DataError(
            f"the member '{member.name}' leads out of the archive", path=path, fix="write the tar file anew"
        )
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise DataError(f"the member '{member.name}' is a link, a device or sparse", path=path, fix="add plain files")
    if member.name in members:
        raise DataError(f"the member '{member.name}' occurs twice", path=path, fix="remove one of them")


def tar_bytes(path: Path, extent: Extent) -> bytes:
    """The bytes of one member."""
    with path.open("rb") as file:
        file.seek(extent.offset)
        return file.read(extent.size)


def webdataset(*, origin: str) -> Reader:
    """A reader of WebDataset tar files: the name up to its first dot joins an image with its captions.

    `NAME.json` has the field "caption" or "captions" (see the module); without it `NAME.txt` has one caption per line.
    Other members are ignored. Ids are the names. Raises DataError for an image without captions, captions without an
    image, two images of one name, a name that two of the tar files have, and what `tar_members` refuses.
    """
    _check_origin(origin)

    def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
        found: dict[str, Path] = {}
        for path in files["rows"]:
            for name, members in _samples(path).items():
                if name in found:
                    message = f"the sample '{name}' is also in {found[name].name}"
                    raise DataError(message, path=path, fix="give every image a name of its own")
                found[name] = path
                picture = Picture(str(path), _image_of(path, name, members))
                captions = _sample_captions(path, name, members, language)
                if captions is not None:
                    yield Captioned(name, language, picture, captions, origin)

    return _with_rows(read)


def _samples(path: Path) -> dict[str, dict[str, str]]:
    """Name -> {ending: member}, in the order of the tar file."""
    samples: dict[str, dict[str, str]] = {}
    for member in tar_members(path):
        folder, slash, file = member.removeprefix("./").rpartition("/")
        stem, _, ending = file.partition(".")
        endings = samples.setdefault(folder + slash + stem, {})
        if endings.setdefault(ending.lower(), member) != member:
            message = f"the members '{endings[ending.lower()]}' and '{member}' differ in case only"
            raise DataError(message, path=path, fix="give every image a name of its own")
    used = {*PICTURES, "json", "txt"}
    return {name: endings for name, endings in samples.items() if used & set(endings)}


def _image_of(path: Path, name: str, members: Mapping[str, str]) -> str:
    images = [member for ending, member in members.items() if ending in PICTURES]
    if len(images) != 1:
        raise DataError(
            f"the sample '{name}' has {len(images)} images (its members: {', '.join(members.values())})",
            path=path,
            fix="one image per name; the name ends at the first dot",
        )
    return images[0]


def _sample_captions(path: Path, name: str, members: Mapping[str, str], language: str) -> tuple[str, ...] | None:
    """The sample's captions, None where it has none in this language."""
    extents = tar_members(path)
    if "json" in members:
        member = members["json"]
        try:
            fields = json.loads(tar_bytes(path, extents[member]))
        except ValueError as error:
            raise DataError(f"member {member}: not JSON: {error}", path=path) from error
        for key in ("caption", "captions"):
            if isinstance(fields, Mapping) and fields.get(key) is not None:
                return _captions(fields[key], language, path, f"member {member}")
    if "txt" in members:
        member = members["txt"]
        try:
            text = tar_bytes(path, extents[member]).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"member {member}: not UTF-8: {error.reason}", path=path) from error
        return _captions(text.removesuffix("\n").split("\n"), language, path, f"member {member}")
    raise DataError(
        f"the image '{name}' has no captions", path=path, fix=f"add {name}.txt, or {name}.json with a 'caption'"
    )


def imagefolder(*, caption: str, origin: str) -> Reader:
    """A reader of a folder of images with a metadata.jsonl or metadata.csv (the Hub's "imagefolder").

    The metadata has the columns file_name (relative to its own folder) and `caption`, in which "{language}" stands for
    the language. Ids are the file names; a file name on several lines has several captions. Raises DataError with the
    line for missing columns, a file name that leads out of the folder, and captions that are no text.
    """
    _check_origin(origin)

    def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
        names = ("file_name", caption.format(language=language))
        for path in files["rows"]:
            rows: dict[str, list[str]] = {}
            for line, (name, value) in csv_lines(path, names) if path.suffix == ".csv" else json_lines(path, names):
                inside(path.parent, name, path, line)
                found = _captions(value, language, path, line)
                if found is not None:
                    rows.setdefault(name, []).extend(found)
            for name, captions in rows.items():
                yield Captioned(name, language, Picture(str(path.parent / name)), tuple(captions), origin)

    return _with_rows(read)


def csv_lines(path: Path, names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line number, the values of these columns) of a comma-separated file with a header, quoted as by Python's csv.

    Raises DataError with the line for a missing column (with the nearest one), and rows with more or fewer fields.
    """
    text = "".join(line for _, line in numbered_lines(path))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    places: list[int] | None = None
    width = 0
    try:
        for fields in reader:
            if places is None:
                for name in names:
                    if name not in fields:
                        raise DataError(str(unknown("column", name, fields)), path=path, line=line)
                places, width = [fields.index(name) for name in names], len(fields)
            elif len(fields) != width:
                message = f"{len(fields)} comma-separated fields, but the header has {width}"
                raise DataError(message, path=path, line=line, fix="put quotation marks around fields with commas")
            else:
                yield line, tuple(fields[place] for place in places)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"the quoting of this line is broken ({error})", path=path, line=line) from error


def parquet_pictures(*, caption: str, origin: str, id: str | None = None) -> Reader:
    """A reader of Parquet files with the images inside, as the Hub stores them: a column of {bytes, path} objects.

    `caption` names the captions' column, "{language}" in it stands for the language; `id` the column of ids (else an
    id is the number of the row from 0). Raises DataError for missing columns and values, captions that are no text, and
    what `image_column` refuses.
    """
    _check_origin(origin)

    def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
        paths = files["rows"]
        column = caption.format(language=language)
        pictures: dict[str, Picture] = {}
        captions: dict[str, list[str]] = {}
        rows = parquet(paths, (column,) if id is None else (column, id))
        for number, (picture, (value, *given)) in enumerate(zip(_row_places(paths), rows, strict=True)):
            name = str(given[0]) if given else str(number)
            found = _captions(value, language, Path(picture.path), f"row {picture.member}")
            if found is not None:
                pictures.setdefault(name, picture)
                captions.setdefault(name, []).extend(found)
        for name, picture in pictures.items():
            yield Captioned(name, language, picture, tuple(captions[name]), origin)

    return _with_rows(read)


def _row_places(paths: Sequence[Path]) -> Iterator[Picture]:
    for path in paths:
        image_column(path)
        for row in range(parquet_file(path).metadata.num_rows):
            yield Picture(str(path), str(row))


def image_column(path: Path) -> str:
    """The Parquet file's column of {bytes, path} objects. Raises DataError when there is none, or several."""
    import pyarrow  # slow to load, and only Parquet files need it

    schema = parquet_file(path).schema_arrow
    kinds: list[tuple[str, Any]] = [(field.name, field.type) for field in schema]
    found = [
        name
        for name, kind in kinds
        if pyarrow.types.is_struct(kind) and {"bytes", "path"} <= {kind.field(at).name for at in range(kind.num_fields)}
    ]
    if len(found) != 1:
        there = ", ".join(f"{name} ({kind})" for name, kind in kinds)
        raise DataError(
            f"{len(found)} columns of images where one is due (objects with `bytes` and `path`); its columns: {there}",
            path=path,
            fix="keep one such column, as `datasets` writes it with the feature Image",
        )
    return found[0]


def parquet_file(path: Path) -> Any:
    """The open Parquet file, as pyarrow's ParquetFile. Raises DataError for one that is missing, damaged or cut off."""
    import pyarrow  # slow to load, and only Parquet files need it
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as Parquet: {error}", path=path, fix=_DOWNLOAD) from error


def _captions(value: object, language: str, path: Path, place: Place) -> tuple[str, ...] | None:
    """The captions in one field, None where it is an object without this language."""
    if isinstance(value, Mapping):
        if value.get(language) is None:
            return None
        value = value[language]
    given = value if isinstance(value, list) else [value]
    if not given:
        raise failure("the list of captions is empty", path, place, "remove the image, or give it a caption")
    return tuple(caption_text(one, path, place) for one in given)


def _check_origin(origin: str) -> None:
    if origin not in ORIGINS:
        raise unknown("origin of captions", origin, ORIGINS)


def _with_rows(read: Reader) -> Reader:
    """The reader, which raises NoRowsError when the files have no row of the language."""

    def checked(files: Files, language: str, split: str) -> Iterator[Row]:
        empty = True
        for row in read(files, language, split):
            empty = False
            yield row
        if empty:
            raise NoRowsError(f"no image has captions in '{language}'", path=files["rows"][0])

    return checked
