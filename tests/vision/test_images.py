"""Opening images: every kind of good file comes out as a viewer shows it, every kind of bad one gives one message."""

from __future__ import annotations

import io
import struct
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from viaduct.errors import DataError
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue
from viaduct.vision.images import PictureError, open_picture, picture_bytes
from viaduct.vision.rows import Captioned, Picture

RED, BLUE = (204, 51, 51), (51, 51, 204)


def halves(mode: str = "RGB", size: tuple[int, int] = (32, 16)) -> Image.Image:
    """An image whose left half is red and right half blue."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format=format, **options)  # type: ignore[arg-type]
    return file.getvalue()


def saved(path: Path, content: bytes) -> Picture:
    path.write_bytes(content)
    return Picture(str(path))


def colours(image: Image.Image) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The colours of the left and the right half."""
    array = np.asarray(image)
    return tuple(array[8, 4].tolist()), tuple(array[8, -4].tolist())


def near(found: tuple[int, ...], wanted: tuple[int, ...], tolerance: int = 12) -> bool:
    return all(abs(one - other) <= tolerance for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("JPEG", "RGB", {"quality": 95}),
        ("JPEG", "RGB", {"quality": 95, "progressive": True}),
        ("JPEG", "CMYK", {"quality": 95}),
        ("WEBP", "RGB", {"lossless": True}),
        ("BMP", "RGB", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "CMYK", {}),
        ("GIF", "P", {}),
        ("PNG", "P", {}),
        ("PNG", "RGBA", {}),
        ("MPO", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (32, 16))], "quality": 95}),
    ],
)
def test_every_format_and_mode_gives_the_same_picture(
    tmp_path: Path, format: str, mode: str, options: dict[str, object]
) -> None:
    opened = open_picture(saved(tmp_path / "picture", encoded(halves(mode), format, **options)))
    assert (opened.mode, opened.size) == ("RGB", (32, 16))
    left, right = colours(opened)
    assert near(left, RED) and near(right, BLUE)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_has_three_equal_channels(tmp_path: Path, mode: str) -> None:
    image = Image.new("L", (32, 16), 255)
    image.paste(0, (16, 0, 32, 16))
    opened = open_picture(saved(tmp_path / "grey.png", encoded(image.convert(mode), "PNG")))
    assert colours(opened) == ((255, 255, 255), (0, 0, 0))


def transparent_files() -> dict[str, bytes]:
    """The left half red, the right half fully transparent, in every way in which files can say so."""
    rgba = Image.new("RGBA", (32, 16), (*RED, 255))
    rgba.paste((0, 0, 0, 0), (16, 0, 32, 16))
    palette = Image.new("P", (32, 16), 0)
    palette.putpalette([*RED, 9, 9, 9])
    palette.paste(1, (16, 0, 32, 16))
    plain = Image.new("RGB", (32, 16), RED)
    plain.paste((9, 9, 9), (16, 0, 32, 16))
    return {
        "RGBA": encoded(rgba, "PNG"),
        "WebP": encoded(rgba, "WEBP", lossless=True),
        "GIF": encoded(palette, "GIF", transparency=1),
        "palette index": encoded(palette, "PNG", transparency=1),
        "palette alpha": encoded(palette, "PNG", transparency=b"\xff\x00"),
        "colour key": encoded(plain, "PNG", transparency=(9, 9, 9)),
    }


@pytest.mark.parametrize("kind", transparent_files())
def test_transparency_is_white(tmp_path: Path, kind: str) -> None:
    assert colours(open_picture(saved(tmp_path / "t", transparent_files()[kind]))) == (RED, (255, 255, 255))


def test_half_transparency_is_mixed_with_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (32, 16), (0, 0, 0, 128))
    assert near(colours(open_picture(saved(tmp_path / "a.png", encoded(image, "PNG"))))[0], (127, 127, 127), 1)


def test_sixteen_bit_grey_is_scaled_not_cut(tmp_path: Path) -> None:
    values = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (16, 1))
    for format in ("PNG", "TIFF"):
        opened = open_picture(saved(tmp_path / "g", encoded(Image.fromarray(values), format)))
        assert np.array_equal(np.asarray(opened), np.repeat((values // 257).astype(np.uint8)[..., None], 3, axis=2))


def test_floating_point_and_32_bit_pixels_are_refused(tmp_path: Path) -> None:
    for values in (np.zeros((4, 4), np.float32), np.full((4, 4), 70_000, np.int32)):
        with pytest.raises(PictureError, match="the file is of an unsupported kind") as caught:
            open_picture(saved(tmp_path / "g.tif", encoded(Image.fromarray(values), "TIFF")))
        assert caught.value.fault == "of an unsupported kind"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    """For each of the eight, the stored pixels are the upright ones transformed by the inverse of the tag."""
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0, 0], upright[0, 5], upright[3, 0] = 255, 170, 85
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    assert np.array_equal(np.asarray(open_picture(saved(tmp_path / "turned.png", content))), upright)


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kB whose pixels would decode to gigabytes of zeros."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def animated(format: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE, (0, 0, 0))]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50)


def bad_files() -> dict[str, tuple[bytes, str, str]]:
    """Name -> (bytes, fault, words)."""
    noise = Image.effect_noise((64, 64), 60).convert("RGB")
    jpeg, png = encoded(noise, "JPEG"), encoded(noise, "PNG")
    return {
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "damaged", "truncated"),
        "truncated.png": (png[: len(png) // 2], "damaged", "truncated"),
        "header.png": (png[:20], "damaged", "Truncated|truncated|short"),
        "pixels.png": (png[:45] + bytes(20) + png[65:], "damaged", "Error"),
        "bomb.png": (bomb(60_000, 60_000), "too large", "exceeds limit"),
        "smaller_bomb.png": (
            bomb(10_000, 10_000),
            "too large",
            "10,000 x 10,000 pixels, but only 50,000,000 are allowed",
        ),
        "moving.gif": (animated("GIF"), "animated", "GIF with several frames"),
        "moving.webp": (animated("WEBP"), "animated", "WEBP with several frames"),
        "moving.png": (animated("PNG"), "animated", "PNG with several frames"),
        "pages.tif": (animated("TIFF"), "animated", "TIFF with several frames or pages"),
        "text.jpg": (b"<html>404 Not Found</html>", "not an image", "it begins with the bytes 3c 68 74 6d"),
        "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image", "it is none of JPEG"),
        "empty.png": (b"", "damaged", "it has no bytes"),
    }


@pytest.mark.parametrize("name", bad_files())
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bad_file_is_one_message_that_names_it(tmp_path: Path, name: str) -> None:
    content, fault, words = bad_files()[name]
    with pytest.raises(PictureError, match=words) as caught:
        open_picture(saved(tmp_path / name, content))
    assert caught.value.fault == fault
    assert str(caught.value).startswith(f"{tmp_path / name}: the file is {fault}: ")


def test_a_bomb_is_never_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise AssertionError("it was decoded")

    picture = saved(tmp_path / "bomb.png", bomb(8_000, 8_000))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(PictureError, match="too large") as error:
        open_picture(picture)
    assert "max_pixels" not in str(error.value), "no recipe has it"
    with pytest.raises(PictureError, match="it was decoded"):
        open_picture(picture, max_pixels=64_000_000)


def test_the_limit_is_the_callers(tmp_path: Path) -> None:
    picture = saved(tmp_path / "a.png", encoded(halves(), "PNG"))
    assert open_picture(picture, max_pixels=32 * 16).size == (32, 16)
    with pytest.raises(PictureError, match="32 x 16 pixels, but only 511 are allowed"):
        open_picture(picture, max_pixels=511)


def test_a_file_longer_than_any_such_image_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a sparse file of a terabyte
    with pytest.raises(PictureError, match="1,099,511,627,776 bytes") as caught:
        open_picture(Picture(str(path)))
    assert caught.value.fault == "too large"


def test_missing_files_and_members(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone.jpg: the file is missing: No such file") as caught:
        open_picture(Picture(str(tmp_path / "gone.jpg")))
    assert caught.value.fault == "missing"
    with pytest.raises(PictureError, match="the file is missing"):
        open_picture(Picture(str(tmp_path)))
    with pytest.raises(PictureError, match=r"gone.parquet: row 3: the file is missing"):
        open_picture(Picture(str(tmp_path / "gone.parquet"), "3"))
    with pytest.raises(DataError, match=r"gone.tar: cannot be read"):
        open_picture(Picture(str(tmp_path / "gone.tar"), "a.png"))


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_members_of_a_tar_file(tmp_path: Path) -> None:
    good, bad = encoded(halves(), "PNG"), b"not an image"
    path = tar(tmp_path / "a.tar", {"folder/a.png": good, "b.png": bad})
    assert picture_bytes(Picture(str(path), "folder/a.png")) == good
    assert colours(open_picture(Picture(str(path), "folder/a.png"))) == (RED, BLUE)
    with pytest.raises(PictureError, match=r"a.tar: member b.png: the file is not an image"):
        open_picture(Picture(str(path), "b.png"))
    with pytest.raises(PictureError, match=r"a.tar: member c.png: the file is missing"):
        open_picture(Picture(str(path), "c.png"))


def test_the_index_of_a_tar_file_is_kept_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    real = tarfile.open

    def counting(*given: object, **named: object) -> object:
        opened.append(given)
        return real(*given, **named)  # type: ignore[call-overload]

    path = tar(tmp_path / "a.tar", {f"{at}.png": encoded(halves(), "PNG") for at in range(20)})
    monkeypatch.setattr(tarfile, "open", counting)
    for at in range(20):
        open_picture(Picture(str(path), f"{at}.png"))
    assert len(opened) == 1
    monkeypatch.undo()
    tar(path, {"new.png": encoded(halves(), "PNG"), "and.txt": b"more"})
    assert open_picture(Picture(str(path), "new.png")).size == (32, 16)


def parquet(path: Path, contents: list[bytes | None], group: int = 2) -> Path:
    images = [None if content is None else {"bytes": content, "path": "x.png"} for content in contents]
    table = pyarrow.table(
        {
            "caption": ["a"] * len(contents),
            "image": pyarrow.array(images, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])),
        }
    )
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    return path


def test_rows_of_a_parquet_file(tmp_path: Path) -> None:
    contents = [encoded(Image.new("RGB", (4, 4 + at)), "PNG") for at in range(7)]
    path = parquet(tmp_path / "a.parquet", [*contents, None, b"no"])
    for at in (6, 0, 3, 5, 1, 2, 4):  # in any order
        assert picture_bytes(Picture(str(path), str(at))) == contents[at]
        assert open_picture(Picture(str(path), str(at))).size == (4, 4 + at)
    with pytest.raises(PictureError, match="row 7: the file is missing: its row has no bytes"):
        open_picture(Picture(str(path), "7"))
    with pytest.raises(PictureError, match="row 8: the file is not an image"):
        open_picture(Picture(str(path), "8"))
    with pytest.raises(PictureError, match="row 9: the file is missing: the file has 9 rows"):
        open_picture(Picture(str(path), "9"))


def test_a_row_group_is_read_once_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "a.parquet", [encoded(halves(), "PNG")] * 12, group=4)
    groups = []
    real = pyarrow.parquet.ParquetFile.read_row_group

    def counting(self: object, at: int, **named: object) -> object:
        groups.append(at)
        return real(self, at, **named)

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "read_row_group", counting)
    for at in range(12):
        open_picture(Picture(str(path), str(at)))
    assert groups == [0, 1, 2]


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
def test_damage_of_any_kind_gives_an_image_or_a_message(
    tmp_path_factory: pytest.TempPathFactory, format: str, changes: list[tuple[float, int]], kept: float
) -> None:
    content = bytearray(encoded(halves("RGB"), format))
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    path = tmp_path_factory.mktemp("damage") / "a"
    path.write_bytes(content[: int(kept * len(content))] if kept < 0.5 else content)
    try:
        assert open_picture(Picture(str(path)), max_pixels=10_000).mode == "RGB"
    except DataError as error:
        assert str(error).startswith(str(path))


def test_torch_is_not_needed() -> None:
    import subprocess

    code = "import sys, viaduct.vision.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["emoji", "storybooks"])
def test_real_images_open(shared_data: Path, name: str) -> None:
    card = Catalogue.builtin().task(name)
    rows = [row for split in ("dev", "test") for row in read(card, shared_data, "en", split).rows]
    images = {row.image for row in rows if isinstance(row, Captioned)}
    assert len(images) == len(rows)
    assert {open_picture(image).mode for image in images if image is not None} == {"RGB"}
