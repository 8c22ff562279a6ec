"""Opens images safely: a file, a tar member or a Parquet row becomes 8-bit RGB, or one message says why it cannot.

Every image comes out as a viewer would show it: rotated upright by its EXIF orientation, transparency on white, 16-bit
grey scaled to 8 bits; colour profiles are not applied. The header is checked before anything is decoded, so a small
file that claims to be a huge image costs little. Only the formats in `IMAGE_FORMATS` are tried, because Pillow has
others that run external programs.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from viaduct.errors import DataError
from viaduct.tasks.opening import other_than_data, require_plain
from viaduct.vision.archives import parquet_bytes, tar_bytes, tar_members
from viaduct.vision.rows import Picture

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are tried. Of a JPEG with further images after the first (MPO, written by phones) the first is used."""

MAX_PIXELS = 50_000_000
"""Several times the largest photo of COCO or Flickr; 150 MB as RGB."""

_BYTES_PER_PIXEL = 8
"""Size of the largest uncompressed pixel (four channels of 16 bits)."""
_HEADER_BYTES = 1 << 24

Fault = Literal["missing", "not an image", "damaged", "too large", "animated", "of an unsupported kind"]
"""Why an image cannot be used."""

_FIXES: dict[Fault, str] = {
    "missing": "copy it into place",
    "not an image": "remove it, or convert it",
    "damaged": "copy it again",
    "too large": "scale it down",
    "animated": "keep one of them",
    "of an unsupported kind": "convert it",
}


class PictureError(DataError):
    """An image that cannot be used, and why."""

    def __init__(self, fault: Fault, message: str, picture: Picture) -> None:
        word = "row" if _is_parquet(picture) else "member"
        member = "" if picture.member is None else f"{word} {picture.member}: "
        super().__init__(f"{member}the file is {fault}: {message}", path=Path(picture.path), fix=_FIXES[fault])
        self.fault = fault


def _is_parquet(picture: Picture) -> bool:
    return picture.member is not None and Path(picture.path).suffix == ".parquet"


def open_picture(picture: Picture, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image as a viewer shows it, mode RGB.

    Raises PictureError, which names file and member, for an image that is missing, damaged or cut off, not one of
    `IMAGE_FORMATS`, animated or with several pages, with floating-point pixels, or with more than `max_pixels` pixels.
    """
    content = picture_bytes(picture, max_bytes=max_pixels * _BYTES_PER_PIXEL + _HEADER_BYTES)
    if not content:
        raise PictureError("damaged", "it has no bytes", picture)
    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            _check_header(image, picture, max_pixels)
            upright = ImageOps.exif_transpose(image)
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # Pillow's own limit, 179 million
        raise PictureError("too large", str(error), picture) from error
    except UnidentifiedImageError as error:
        start = " ".join(f"{byte:02x}" for byte in content[:4])
        message = f"it is none of {', '.join(IMAGE_FORMATS)} (it begins with the bytes {start})"
        message += "" if (other := other_than_data(content)) is None else f"; {'; '.join(other)}"
        raise PictureError("not an image", message, picture) from error
    except Exception as error:  # Pillow's readers and decoders raise almost anything on damaged bytes
        raise PictureError("damaged", f"{type(error).__name__}: {error}", picture) from error
    return _rgb(upright, picture)


def _check_header(image: Image.Image, picture: Picture, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise PictureError("too large", f"{width:,} x {height:,} pixels, but only {max_pixels:,} are allowed", picture)
    if image.format != "MPO" and getattr(image, "is_animated", False):  # looks for a second frame
        raise PictureError("animated", f"{image.format} with several frames or pages", picture)


def _rgb(image: Image.Image, picture: Picture) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):  # Pillow's own conversion clips everything above 255
        values_HW = np.asarray(image).astype(np.int64)
        if values_HW.min() < 0 or values_HW.max() > 0xFFFF:
            raise PictureError("of an unsupported kind", "its grey values exceed 16 bits", picture)
        return Image.fromarray((values_HW // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise PictureError("of an unsupported kind", "its pixels are floating-point numbers", picture)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def picture_bytes(picture: Picture, *, max_bytes: int | None = None) -> bytes:
    """The bytes of the image file, unchanged, read from the place that the row names.

    Raises PictureError if it is missing or has more than `max_bytes` bytes, and DataError if the tar or Parquet file
    cannot be read.
    """
    path = Path(picture.path)
    try:
        if _is_parquet(picture):
            content, rows = parquet_bytes(path, int(picture.member or 0))
            if content is None:
                has_row = int(picture.member or 0) < rows
                message = "its row has no bytes" if has_row else f"the file has {rows:,} rows"
                raise PictureError("missing", message, picture)
            _check_bytes(len(content), picture, max_bytes)
            return content
        if picture.member is not None:
            members = tar_members(path)
            if picture.member not in members:
                raise PictureError("missing", "the archive has no such member", picture)
            _check_bytes(members[picture.member].size, picture, max_bytes)
            return tar_bytes(path, members[picture.member])
        require_plain(path)
        _check_bytes(path.stat().st_size, picture, max_bytes)
        return path.read_bytes()
    except OSError as error:
        raise PictureError("missing", error.strerror or str(error), picture) from error


def _check_bytes(size: int, picture: Picture, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        raise PictureError("too large", f"{size:,} bytes, but only {max_bytes:,} are allowed", picture)
