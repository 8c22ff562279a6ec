"""Opening images safely: from a file, a tar member or a Parquet row to 8-bit RGB, or one message that says why not.

Every image comes out as a viewer shows it: turned upright by its EXIF orientation, transparency on white, 16-bit grey
scaled to 8 bits; colour profiles are not applied. Nothing is decoded before its header has been looked at, so a small
file that claims to be a huge image costs nothing. Only the formats in `FORMATS` are tried: Pillow knows others that run
programs.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from viaduct.errors import DataError
from viaduct.runs.stage import Progress
from viaduct.vision.archives import image_column, parquet_file, tar_bytes, tar_members
from viaduct.vision.rows import Captioned, Picture

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Of a JPEG with more images behind the first (MPO: telephones write it) the first is taken."""

MAX_PIXELS = 50_000_000
"""Several times the largest photo of COCO or Flickr; 150 MB as RGB."""

_BYTES_PER_PIXEL = 8
"""Of the largest uncompressed pixel (four channels of 16 bits)."""
_HEADER_BYTES = 1 << 24

Fault = Literal["missing", "not an image", "damaged", "too large", "animated", "of an unsupported kind"]
"""Why an image cannot be used."""


class PictureError(DataError):
    """An image that cannot be used, and why."""

    def __init__(self, fault: Fault, message: str, picture: Picture, fix: str | None = None) -> None:
        member = "" if picture.member is None else f"{_member_word(picture)} {picture.member}: "
        super().__init__(f"{member}the file is {fault}: {message}", path=Path(picture.path), fix=fix)
        self.fault = fault


def _member_word(picture: Picture) -> str:
    return "row" if _is_parquet(picture) else "member"


def _is_parquet(picture: Picture) -> bool:
    return picture.member is not None and Path(picture.path).suffix == ".parquet"


def open_picture(picture: Picture, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image as a viewer shows it, mode RGB.

    Raises PictureError, which names file and member, for an image that is missing, damaged or cut off, of another
    format than `FORMATS`, animated or of several pages, of floating-point pixels, or of more than `max_pixels` pixels.
    """
    content = picture_bytes(picture, max_bytes=max_pixels * _BYTES_PER_PIXEL + _HEADER_BYTES)
    if not content:
        raise PictureError("damaged", "it has no bytes", picture, "copy it again")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # Pillow's own limit, 179 million
        raise PictureError("too large", str(error), picture, "scale it down") from error
    except UnidentifiedImageError as error:
        start = " ".join(f"{byte:02x}" for byte in content[:4])
        message = f"it is none of {', '.join(FORMATS)} (it begins with the bytes {start})"
        raise PictureError("not an image", message, picture, "remove it, or convert it") from error
    except Exception as error:  # Pillow's readers raise almost anything on damaged headers
        raise PictureError("damaged", f"{type(error).__name__}: {error}", picture, "copy it again") from error
    with image:
        _check_header(image, picture, max_pixels)
        try:
            upright = ImageOps.exif_transpose(image)
        except Exception as error:  # and its decoders on damaged bytes
            raise PictureError("damaged", f"{type(error).__name__}: {error}", picture, "copy it again") from error
        return _rgb(upright, picture)


_SCALE = "scale it down, or raise max_pixels"


def _check_header(image: Image.Image, picture: Picture, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        message = f"{width:,} x {height:,} pixels, and {max_pixels:,} are allowed"
        raise PictureError("too large", message, picture, _SCALE)
    try:
        several = image.format != "MPO" and getattr(image, "is_animated", False)
    except Exception as error:  # looks for a second frame
        raise PictureError("damaged", f"{type(error).__name__}: {error}", picture, "copy it again") from error
    if several:
        raise PictureError("animated", f"{image.format} with several frames or pages", picture, "keep one of them")


def _rgb(image: Image.Image, picture: Picture) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):  # Pillow's own conversion cuts everything above 255
        values_HW = np.asarray(image).astype(np.int64)
        if values_HW.min() < 0 or values_HW.max() > 0xFFFF:
            raise PictureError("of an unsupported kind", "its grey values exceed 16 bits", picture, "convert it")
        return Image.fromarray((values_HW // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise PictureError("of an unsupported kind", "its pixels are floating-point numbers", picture, "convert it")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def picture_bytes(picture: Picture, *, max_bytes: int | None = None) -> bytes:
    """The image's file as it is, from where the row says.

    Raises PictureError when it is missing or has more than `max_bytes` bytes, and DataError when the tar or Parquet
    file cannot be read.
    """
    path = Path(picture.path)
    if _is_parquet(picture):
        content = _parquet_bytes(picture)
        _check_bytes(len(content), picture, max_bytes)
        return content
    if picture.member is not None:
        members = tar_members(path)
        if picture.member not in members:
            raise PictureError("missing", "the archive has no such member", picture)
        _check_bytes(members[picture.member].size, picture, max_bytes)
        return tar_bytes(path, members[picture.member])
    try:
        _check_bytes(path.stat().st_size, picture, max_bytes)
        return path.read_bytes()
    except OSError as error:
        raise PictureError("missing", error.strerror or str(error), picture, "copy it to its place") from error


def _check_bytes(size: int, picture: Picture, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        raise PictureError("too large", f"{size:,} bytes, and {max_bytes:,} are allowed", picture, _SCALE)


def _parquet_bytes(picture: Picture) -> bytes:
    path, row = Path(picture.path), int(picture.member or 0)
    try:
        state = path.stat()
    except OSError as error:
        raise PictureError("missing", error.strerror or str(error), picture, "copy it to its place") from error
    starts = _row_groups(path, state.st_size, state.st_mtime_ns)
    if row >= starts[-1]:
        raise PictureError("missing", f"the file has {starts[-1]:,} rows", picture)
    group = bisect_right(starts, row) - 1
    content = _row_group(path, state.st_size, state.st_mtime_ns, group)[row - starts[group]].as_py()
    if content is None:
        raise PictureError("missing", "its row has no bytes", picture, "store the images in the Parquet file")
    return bytes(content)


@lru_cache(maxsize=16)
def _row_groups(path: Path, _size: int, _changed: int) -> tuple[int, ...]:
    """The number of each row group's first row, and of all rows."""
    metadata = parquet_file(path).metadata
    return tuple(accumulate((metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)), initial=0))


@lru_cache(maxsize=2)
def _row_group(path: Path, _size: int, _changed: int, group: int) -> Any:
    """The images' bytes in one row group: rows are mostly asked for in order, and a group is the least that is read."""
    import pyarrow  # slow to load, and only Parquet files need it

    try:
        table = parquet_file(path).read_row_group(group, columns=[f"{image_column(path)}.bytes"])
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"row group {group} cannot be read: {error}", path=path, fix="copy the file again") from error
    return table.flatten().column(0)


@dataclass(frozen=True, slots=True)
class BadPicture:
    """An image that `open_picture` refuses."""

    id: str
    picture: Picture
    fault: Fault
    message: str


@dataclass(frozen=True, slots=True)
class Examination:
    """Which images of some rows cannot be used."""

    examined: int
    """Different images."""
    absent: int
    """Rows without an image."""
    bad: tuple[BadPicture, ...]

    def words(self, named: int = 5) -> str:
        """How many images are bad, by fault, with the messages of the first `named` ones."""
        if not self.bad:
            return f"images: {self.examined:,}, none of them bad"
        counts = Counter(one.fault for one in self.bad).most_common()
        parts = ", ".join(f"{count:,} {fault}" for fault, count in counts)
        more = len(self.bad) - named
        lines = [f"images: {self.examined:,}, bad: {len(self.bad):,} ({parts})"]
        lines += [one.message for one in self.bad[:named]]
        return "\n".join(lines + ([f"and {more:,} more"] if more > 0 else []))


def examine(
    rows: Iterable[Captioned],
    *,
    max_pixels: int = MAX_PIXELS,
    progress: Progress = lambda done, total, note: None,
) -> Examination:
    """Opens and decodes every image of the rows once; refuses nothing, so that the caller decides what to do."""
    ids: dict[Picture, str] = {}
    absent = 0
    for row in rows:
        if row.image is None:
            absent += 1
        else:
            ids.setdefault(row.image, row.id)
    bad = []
    for at, (picture, id) in enumerate(ids.items(), start=1):
        try:
            open_picture(picture, max_pixels=max_pixels)
        except DataError as error:
            fault: Fault = error.fault if isinstance(error, PictureError) else "damaged"
            bad.append(BadPicture(id, picture, fault, str(error).partition("\n")[0]))
        progress(at, len(ids), "examining images")
    return Examination(len(ids), absent, tuple(bad))
