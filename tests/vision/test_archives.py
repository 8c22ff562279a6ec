"""Users' own images with captions: tar files, folders with metadata, Parquet. All rows are made up."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viaduct.errors import DataError, NoRowsError, UsageError
from viaduct.tasks.card import Reader
from viaduct.vision.archives import imagefolder, parquet_pictures, tar_bytes, tar_members, webdataset
from viaduct.vision.rows import Captioned, Picture

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\ufeff"), min_size=1).map(str.strip).filter(bool)
stems = st.from_regex(r"[a-z0-9]{1,6}(/[a-z0-9]{1,4})?", fullmatch=True)


def tar(path: Path, members: dict[str, bytes | str], **info: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in info.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data) if member.isfile() else None)
    return path


def rows(reader: Reader, *paths: Path, language: str = "en") -> list[Any]:
    return list(reader({"rows": paths}, language, "train"))


WEB = webdataset(origin="people")


def test_a_sample_is_an_image_and_its_captions(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar",
        {
            "./one.jpg": b"jpeg",
            "._one.jpg": b"what a Mac adds",
            "./one.txt": "A kite.\r\nA red kite.\n",
            "deep/two.json": json.dumps({"caption": "A bridge.", "url": "x"}),
            "deep/two.PNG": b"png",
            "deep/two.cls": b"3",
            "readme.md": "about",
        },
    )
    assert rows(WEB, path) == [
        Captioned("one", "en", Picture(str(path), "./one.jpg"), ("A kite.", "A red kite."), "people"),
        Captioned("deep/two", "en", Picture(str(path), "deep/two.PNG"), ("A bridge.",), "people"),
    ]


def test_captions_come_from_the_json_first_and_then_from_the_text(tmp_path: Path) -> None:
    both = {"a.jpg": b"", "a.txt": "text"}
    for fields, caption in (
        ({"caption": "json"}, ("json",)),
        ({"captions": ["one", "two"]}, ("one", "two")),
        ({"caption": None}, ("text",)),
        ({"width": 3}, ("text",)),
    ):
        (row,) = rows(WEB, tar(tmp_path / "a.tar", {**both, "a.json": json.dumps(fields)}))
        assert row.captions == caption


def test_an_object_of_languages_gives_the_rows_that_have_the_language(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar",
        {
            "1.jpg": b"",
            "1.json": json.dumps({"captions": {"en": ["A kite.", "Kites."], "sw": "Tiara."}}),
            "2.jpg": b"",
            "2.json": json.dumps({"captions": {"en": "A bridge.", "sw": None}}),
        },
    )
    assert [row.captions for row in rows(WEB, path)] == [("A kite.", "Kites."), ("A bridge.",)]
    assert [(row.id, row.captions) for row in rows(WEB, path, language="sw")] == [("1", ("Tiara.",))]
    with pytest.raises(NoRowsError, match="no image has captions in 'de'"):
        rows(WEB, path, language="de")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.jpg": b""}, "the image 'a' has no captions\n.*add a.txt, or a.json"),
        ({"a.jpg": b"", "a.json": "{}"}, "the image 'a' has no captions"),
        ({"a.txt": "A kite."}, r"the sample 'a' has 0 images \(its members: a.txt\)"),
        ({"a.b.jpg": b"", "a.b.txt": "A kite.", "a.txt": "x"}, "the sample 'a' has 0 images.*a.b.jpg"),
        ({"a.jpg": b"", "a.png": b"", "a.txt": "A kite."}, "the sample 'a' has 2 images"),
        ({"a.jpg": b"", "a.JPG": b"", "a.txt": "x"}, "the members 'a.jpg' and 'a.JPG' differ only in case"),
        ({"a.jpg": b"", "a.txt": "A kite.\n\nA bridge.\n"}, "member a.txt: the caption is empty"),
        ({"a.jpg": b"", "a.txt": ""}, "member a.txt: the caption is empty"),
        ({"a.jpg": b"", "a.txt": b"Br\xfccke"}, "member a.txt: not UTF-8"),
        ({"a.jpg": b"", "a.json": "{"}, "member a.json: not JSON"),
        ({"a.jpg": b"", "a.json": b"\xff\xfe\xfd"}, "member a.json: not JSON"),
        ({"a.jpg": b"", "a.json": '{"caption": 7}'}, "member a.json: the caption is int"),
        ({"a.jpg": b"", "a.json": '{"captions": []}'}, "member a.json: the list of captions is empty"),
        ({"../a.jpg": b"", "../a.txt": "x"}, r"the member '../a.jpg' leads out of the archive"),
        ({"/etc/a.jpg": b""}, r"the member '/etc/a.jpg' leads out of the archive"),
        ({"x/../../a.jpg": b""}, "leads out of the archive"),
    ],
)
def test_a_damaged_sample_is_named(tmp_path: Path, members: dict[str, bytes | str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        rows(WEB, tar(tmp_path / "a.tar", members))
    assert str(caught.value).startswith(f"{tmp_path / 'a.tar'}: ")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(DataError, match=r"the member 'a.jpg' is a link, a device or sparse"):
        tar_members(tar(tmp_path / "a.tar", {"a.jpg": b""}, type=kind, linkname="/etc/passwd"))


def test_a_member_or_a_sample_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    tar(path, {"a.jpg": b""})
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(DataError, match=r"the member 'a.jpg' occurs twice"):
        tar_members(path)
    shards = [tar(tmp_path / f"{at}.tar", {"a.jpg": b"", "a.txt": "A kite."}) for at in range(2)]
    with pytest.raises(DataError, match=r"1.tar: the sample 'a' is also in 0.tar"):
        rows(WEB, *shards)


def test_a_tar_file_that_is_none_or_compressed_or_missing(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"a.jpg": b"x" * 600, "b.jpg": b"y" * 600})
    content = path.read_bytes()
    assert [tar_bytes(path, extent) for extent in tar_members(path).values()] == [b"x" * 600, b"y" * 600]
    for bad in (b"", b"plain text", gzip.compress(content)):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"a.tar: (cannot be read as a tar file|the tar file is damaged)"):
            tar_members(path)
    with pytest.raises(DataError, match=r"none.tar: cannot be read: No such file"):
        tar_members(tmp_path / "none.tar")


@pytest.mark.parametrize("kept", [100, 512, 700, 1536, 1537, 1600, 2048, 2500, 2560, 3071])
def test_a_tar_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path, kept: int) -> None:
    """Members of 1,024 and 512 bytes, each after a header of 512: a file cut off before the end mark is never whole."""
    path = tar(tmp_path / "a.tar", {"a.jpg": b"x" * 600, "b.jpg": b"y" * 500})
    content = path.read_bytes()
    assert content[2560:3072] == bytes(512)
    path.write_bytes(content[:kept])
    with pytest.raises(DataError, match=r"a.tar: (the tar file is damaged or cut off|cannot be read as a tar file)"):
        tar_members(path)


def test_a_damaged_header_does_not_end_the_tar_file_silently(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"a.jpg": b"x", "b.jpg": b"y", "c.jpg": b"z"})
    content = bytearray(path.read_bytes())
    content[1024:1030] = b"?" * 6  # the header of b.jpg
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged or cut off at byte 1,024"):
        tar_members(path)


@given(st.dictionaries(stems, st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=5), st.booleans())
def test_webdataset_round_trip(
    tmp_path_factory: pytest.TempPathFactory, made: dict[str, list[str]], as_text: bool
) -> None:
    members: dict[str, bytes | str] = {}
    for at, (stem, captions) in enumerate(made.items()):
        members[f"{stem}.jpg"] = bytes([at])
        if as_text:
            members[f"{stem}.txt"] = "\n".join(captions)
        else:
            members[f"{stem}.json"] = json.dumps({"captions": captions})
    path = tar(tmp_path_factory.mktemp("web") / "a.tar", members)
    found = rows(WEB, path)
    assert {row.id: list(row.captions) for row in found} == made
    for at, row in enumerate(found):
        assert tar_bytes(path, tar_members(path)[row.image.member]) == bytes([at])


FOLDER = imagefolder(caption="text", origin="people")


def metadata(folder: Path, name: str, records: list[dict[str, object]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if name.endswith(".csv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


RECORDS: list[dict[str, object]] = [
    {"file_name": "a.jpg", "text": 'A "red" kite, and\na bridge.', "more": 1},
    {"file_name": "b/c.png", "text": "A bridge.", "more": 2},
    {"file_name": "a.jpg", "text": "A kite.", "more": 3},
]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_a_folder_with_metadata(tmp_path: Path, name: str) -> None:
    found = rows(FOLDER, metadata(tmp_path / "train", name, RECORDS))
    assert found == [
        Captioned(
            "a.jpg", "en", Picture(str(tmp_path / "train/a.jpg")), ('A "red" kite, and a bridge.', "A kite."), "people"
        ),
        Captioned("b/c.png", "en", Picture(str(tmp_path / "train/b/c.png")), ("A bridge.",), "people"),
    ]


def test_a_column_per_language(tmp_path: Path) -> None:
    reader = imagefolder(caption="text_{language}", origin="machine")
    path = metadata(tmp_path, "metadata.csv", [{"file_name": "a.jpg", "text_en": "A kite.", "text_sw": "Tiara."}])
    assert [rows(reader, path, language=code)[0].captions for code in ("en", "sw")] == [("A kite.",), ("Tiara.",)]
    with pytest.raises(DataError, match=r"line 1: unknown column 'text_de'. Did you mean 'text_"):
        rows(reader, path, language="de")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.csv", "file,text\na.jpg,x\n", "line 1: unknown column 'file_name'. Did you mean 'file'"),
        (
            "metadata.csv",
            "file_name,text\na.jpg,A kite, red\n",
            "line 2: 3 comma-separated fields.*2\n.*quotation marks",
        ),
        ("metadata.csv", 'file_name,text\na.jpg,"x\ny"\nb.jpg\n', "line 4: 1 comma-separated fields"),
        ("metadata.csv", 'file_name,text\na.jpg,"A kite\n', "line 2: the quoting of this line is broken"),
        ("metadata.csv", "file_name,text\na.jpg,\n", "line 2: the caption is empty"),
        ("metadata.csv", "file_name,text\n,A kite\n", "line 2: the name of the image is ''"),
        ("metadata.csv", "file_name,text\n../a.jpg,A kite\n", r"line 2: the image '../a.jpg' is not below"),
        ("metadata.csv", "file_name,text\n/a.jpg,A kite\n", "line 2: the image '/a.jpg' is not below"),
        ("metadata.csv", "", "the file is empty"),
        ("metadata.csv", "file_name,text\n", "no image has captions"),
        ("metadata.jsonl", '{"file_name": "a.jpg"}\n', "line 1: not a JSON object with file_name, text"),
        ("metadata.jsonl", '["a.jpg", "A kite"]\n', "line 1: not a JSON object"),
        ("metadata.jsonl", '{"file_name": "a.jpg", "text": "x"}\n\n', "line 2: not JSON: Expecting value"),
        ("metadata.jsonl", '{"file_name": "a.jpg", "text": "x"}\n{"file_n', "line 2: not JSON: Unterminated string"),
        ("metadata.jsonl", '{"file_name": "a.jpg", "text": 7}\n', "line 1: the caption is int"),
        ("metadata.jsonl", '{"file_name": "a.jpg", "text": null}\n', "line 1: 'text' is null"),
        ("metadata.jsonl", '{"file_name": 7, "text": "x"}\n', "line 1: the name of the image is 7"),
    ],
)
def test_damaged_metadata_name_the_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    with pytest.raises(DataError, match=message):
        rows(FOLDER, path)


def test_an_image_that_two_folders_name_is_refused(tmp_path: Path) -> None:
    paths = [metadata(tmp_path / part, "metadata.jsonl", [{"file_name": "a.jpg", "text": "A kite."}]) for part in "xy"]
    with pytest.raises(DataError, match=r"y/metadata.jsonl, line 1: the image 'a.jpg' is also in .*x/metadata.jsonl"):
        rows(FOLDER, *paths)


def test_metadata_with_a_byte_order_mark_and_crlf_are_the_same(tmp_path: Path) -> None:
    content = "file_name,text\na.jpg,A kite\n"
    plain = tmp_path / "metadata.csv"
    plain.write_text(content, encoding="utf-8")
    wanted = rows(FOLDER, plain)
    plain.write_bytes(b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode())
    assert rows(FOLDER, plain) == wanted


@given(st.dictionaries(stems, texts, min_size=1, max_size=5), st.sampled_from(["metadata.csv", "metadata.jsonl"]))
def test_metadata_round_trip(tmp_path_factory: pytest.TempPathFactory, made: dict[str, str], name: str) -> None:
    records: list[dict[str, object]] = [{"file_name": stem, "text": text} for stem, text in made.items()]
    found = rows(FOLDER, metadata(tmp_path_factory.mktemp("folder"), name, records))
    assert {row.id: row.captions for row in found} == {stem: (text,) for stem, text in made.items()}


IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def parquet(path: Path, **columns: list[Any]) -> Path:
    given = {name: values for name, values in columns.items() if not name.startswith("image")}
    images = {
        name: pyarrow.array([{"bytes": value, "path": None} for value in values], IMAGE)
        for name, values in columns.items()
        if name.startswith("image")
    }
    pyarrow.parquet.write_table(pyarrow.table({**given, **images}), path, row_group_size=2)
    return path


def test_parquet_rows_over_several_files(tmp_path: Path) -> None:
    first = parquet(tmp_path / "train-00000-of-00002.parquet", caption=["A kite.", "A bridge."], image=[b"1", b"2"])
    second = parquet(tmp_path / "train-00001-of-00002.parquet", caption=["A boat."], image=[b"3"])
    reader = parquet_pictures(caption="caption", origin="people")
    assert rows(reader, first, second) == [
        Captioned("0", "en", Picture(str(first), "0"), ("A kite.",), "people"),
        Captioned("1", "en", Picture(str(first), "1"), ("A bridge.",), "people"),
        Captioned("2", "en", Picture(str(second), "0"), ("A boat.",), "people"),
    ]
    with pytest.raises(DataError, match="1 files, but their names say otherwise"):
        rows(reader, first)


def test_parquet_rows_with_the_same_id_are_one_image(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", name=["x", "y", "x"], caption=["1", "2", "3"], image=[b"x", b"y", b"x"])
    found = rows(parquet_pictures(caption="caption", id="name", origin="people"), path)
    assert [(row.id, row.captions, row.image.member) for row in found] == [("x", ("1", "3"), "0"), ("y", ("2",), "1")]


def test_parquet_captions_may_be_lists_and_columns_per_language(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", en=[["A kite.", "Kites."]], sw=[["Tiara."]], image=[b"x"])
    reader = parquet_pictures(caption="{language}", origin="people")
    assert [rows(reader, path, language=code)[0].captions for code in ("en", "sw")] == [
        ("A kite.", "Kites."),
        ("Tiara.",),
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["A kite."], "image": [b"x"]}, "unknown column 'caption'"),
        ({"caption": ["A kite."]}, r"0 columns of images .*, not one; its columns: caption \(string\)"),
        ({"caption": ["A kite."], "image": [b"x"], "image2": [b"x"]}, r"2 columns of images .*, not one"),
        ({"caption": ["A kite.", None], "image": [b"x", b"y"]}, "a row has no 'caption'"),
        ({"caption": ["A kite.", " "], "image": [b"x", b"y"]}, "row 1: the caption is empty"),
        ({"caption": [7], "image": [b"x"]}, "row 0: the caption is int"),
        ({"caption": [[]], "image": [b"x"]}, "row 0: the list of captions is empty"),
        ({"caption": [], "image": []}, "no image has captions"),
    ],
)
def test_a_damaged_parquet_file_names_the_row(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows(parquet_pictures(caption="caption", origin="people"), parquet(tmp_path / "a.parquet", **columns))


def test_a_parquet_file_that_is_cut_off(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", caption=["A kite."], image=[b"x"])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"a.parquet: cannot be read as Parquet"):
        rows(parquet_pictures(caption="caption", origin="people"), path)


@given(st.lists(texts, min_size=1, max_size=6))
def test_parquet_round_trip(tmp_path_factory: pytest.TempPathFactory, captions: list[str]) -> None:
    path = parquet(tmp_path_factory.mktemp("p") / "a.parquet", caption=captions, image=[b"x"] * len(captions))
    found = rows(parquet_pictures(caption="caption", origin="people"), path)
    assert [row.captions for row in found] == [(caption,) for caption in captions]


def test_an_unknown_origin_is_answered_when_the_card_is_loaded() -> None:
    for make in (lambda: webdataset(origin="human"), lambda: imagefolder(caption="text", origin="human")):
        with pytest.raises(UsageError, match="unknown origin of captions 'human'"):
            make()
