"""Readers of captions in JSON and text: what users get for good and for damaged files. All rows are made up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viaduct.errors import DataError
from viaduct.vision.caption_files import (
    FLICKR30K,
    Numbered,
    Photos,
    karpathy_split,
    listed_photos,
    part_of,
    photo_id,
    read_tokens,
)
from viaduct.vision.cards import coco as coco_card
from viaduct.vision.cards import multi30k
from viaduct.vision.cards.flickr8k import read_joined
from viaduct.vision.cards.flickr30k import read_bars
from viaduct.vision.rows import Captioned, Picture

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\ufeff"), min_size=1).map(str.strip).filter(bool)
names = st.from_regex(r"[0-9]{4,9}(_[0-9a-f]{4})?\.jpg", fullmatch=True)


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8", newline="")
    return path


def coco(*captions: tuple[int, object], images: tuple[int, ...] = (1, 2), **more: object) -> dict[str, Any]:
    return {
        "images": [{"id": id, "file_name": f"{id:012d}.jpg"} for id in images],
        "annotations": [{"id": at, "image_id": id, "caption": text} for at, (id, text) in enumerate(captions)],
        **more,
    }


def rows_of(path: Path, language: str = "en") -> list[Captioned]:
    return list(coco_card.read({"rows": (path,)}, language, "dev"))


def annotations(folder: Path, content: object) -> Path:
    """Writes the annotation file of val2017 below this folder; its images are in `val2017/`."""
    return write(folder / "annotations" / "captions_val2017.json", content)


def karpathy(path: Path, split: str) -> list[Captioned]:
    return list(karpathy_split()({"rows": (path,)}, "en", split))


def listed(chosen: Path, captions: Numbered, *folders: str, language: str = "en") -> list[Captioned]:
    """The rows of the photos in a list, which is in the data folder."""
    reader = listed_photos(lambda _path, _language: captions, 0, *folders)
    return list(reader({"images": (chosen,), "rows": (chosen,)}, language, "train"))


def test_coco_gathers_the_captions_of_an_image(tmp_path: Path) -> None:
    path = annotations(tmp_path, coco((2, "Two kites.\n"), (1, " A kite "), (2, "Kites\nfly. "), images=(1, 2, 3)))
    assert rows_of(path) == [
        Captioned("1", "en", None, ("A kite",), "people"),
        Captioned("2", "en", None, ("Two kites.", "Kites fly."), "people"),
    ]
    write(tmp_path / "val2017" / "000000000002.jpg", b"")
    pictures = [row.image for row in rows_of(path)]  # image 1 has no file, which shows only when it is opened
    assert pictures == [Picture(str(tmp_path / "val2017" / f"00000000000{id}.jpg")) for id in (1, 2)]


def test_coco_with_a_byte_order_mark_or_compressed_is_the_same(tmp_path: Path) -> None:
    text = json.dumps(coco((1, "Eine Brücke"))).encode()
    plain = rows_of(annotations(tmp_path, text))
    assert rows_of(annotations(tmp_path, b"\xef\xbb\xbf" + text)) == plain
    assert rows_of(annotations(tmp_path, gzip.compress(text))) == plain


def test_a_file_says_who_made_its_captions_unless_that_is_known(tmp_path: Path) -> None:
    made = annotations(tmp_path, coco((1, "Eine Brücke"), info={"origin": "machine"}))
    assert [row.origin for row in rows_of(made, "de")] == ["machine"]
    assert [row.origin for row in rows_of(made, "en")] == ["machine"]
    assert [row.origin for row in rows_of(annotations(tmp_path, coco((1, "A bridge"))))] == ["people"]
    for info in ({}, {"origin": "robots"}):
        with pytest.raises(DataError, match=r"""info.origin is .*\n.*add "origin": "machine" to its "info\""""):
            rows_of(annotations(tmp_path, coco((1, "Eine Brücke"), info=info)), "de")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ('{"images": [],\n "annotations": [', "line 2: not JSON"),
        ([], "the file has no 'images'"),
        ({"images": []}, "the file has no 'annotations'"),
        (coco(images=(1, 1)), r"images\[1\]: the image id 1 occurs twice"),
        ({"images": [{"file_name": "a.jpg"}], "annotations": []}, r"images\[0\]: it has no 'id'"),
        ({"images": [{"id": 1.5, "file_name": "a"}], "annotations": []}, r"images\[0\]: 'id' is 1.5"),
        ({"images": [{"id": True, "file_name": "a"}], "annotations": []}, r"images\[0\]: 'id' is True"),
        ({"images": [{"id": 1}], "annotations": []}, r"images\[0\] has no 'file_name'"),
        ({"images": [{"id": 1, "file_name": "../a"}], "annotations": []}, r"the image '../a' is not below"),
        ({"images": [{"id": 1, "file_name": "/etc/a"}], "annotations": []}, r"the image '/etc/a' is not below"),
        ({"images": [{"id": 1, "file_name": ""}], "annotations": []}, "the name of the image is ''"),
        (coco((3, "A kite")), r"annotations\[0\]: no image has the id 3"),
        (coco((1, "A kite"), (1, "")), r"annotations\[1\]: the caption is empty"),
        (coco((1, " \n")), "the caption is empty"),
        (coco((1, None)), r"annotations\[0\]: the caption is NoneType, but must be text"),
        (coco((1, ["A", "kite"])), "the caption is list"),
        (coco((1, "\ud83d")), "half a character"),
        (
            {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"id": 1, "image_id": 1, "caption": "a"}] * 2},
            r"annotations\[1\]: the annotation id 1 occurs twice",
        ),
        ({"images": [], "annotations": [{"id": 1, "caption": "a"}]}, r"annotations\[0\]: it has no 'image_id'"),
        ({"images": [], "annotations": ["a"]}, r"annotations\[0\]: it has no 'id'"),
    ],
)
def test_a_damaged_coco_file_names_the_place(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        rows_of(annotations(tmp_path, content))
    assert str(tmp_path / "annotations" / "captions_val2017.json") in str(caught.value)


@given(st.dictionaries(st.integers(0, 10**12), st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=5))
def test_coco_round_trip(tmp_path_factory: pytest.TempPathFactory, captions: dict[int, list[str]]) -> None:
    pairs = [(id, text) for id, made in captions.items() for text in made]
    path = annotations(tmp_path_factory.mktemp("coco"), coco(*pairs, images=tuple(captions)))
    assert {row.id: row.captions for row in rows_of(path)} == {str(id): tuple(made) for id, made in captions.items()}


def split_file(**changes: object) -> dict[str, Any]:
    """A file in Karpathy's format with one image of each split."""
    return {
        "images": [
            {
                "filename": f"COCO_val2014_{at:012d}.jpg",
                "split": split,
                "sentences": [{"raw": f"{split} one.", "tokens": [split]}, {"raw": f"{split} two."}],
                **changes,
            }
            for at, split in enumerate(("train", "restval", "val", "test"), start=7)
        ],
        "dataset": "coco",
    }


def test_karpathys_restval_is_training(tmp_path: Path) -> None:
    path = write(tmp_path / "d.json", split_file())
    found = {split: karpathy(path, split) for split in ("train", "dev", "test")}
    assert {split: [row.id for row in rows] for split, rows in found.items()} == {
        "train": ["7", "8"],
        "dev": ["9"],
        "test": ["10"],
    }
    assert found["dev"][0] == Captioned("9", "en", None, ("val one.", "val two."), "people")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "valid"}, r"images\[0\]: unknown split 'valid'. Did you mean 'val'"),
        ({"sentences": []}, r"images\[0\]: the image 'COCO_val2014_000000000007.jpg' has no sentences"),
        ({"sentences": [{"tokens": []}]}, r"sentences\[0\] has no 'raw'"),
        ({"sentences": [{"raw": "a"}, {"raw": " "}]}, r"images\[0\].sentences\[1\]: the caption is empty"),
        ({"filename": None}, "'filename' is NoneType"),
        ({"filename": "../a.jpg"}, "the image '../a.jpg' is not below"),
    ],
)
def test_a_damaged_karpathy_file_names_the_place(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        karpathy(write(tmp_path / "d.json", split_file(**changes)), "train")


def test_photos_have_the_same_id_in_every_dataset() -> None:
    assert photo_id("1000268201_693b08cb0e.jpg") == photo_id("1000268201.jpg") == "1000268201"
    assert photo_id("COCO_val2014_000000391895.jpg") == photo_id("COCO_train2014_000000391895.jpg") == "391895"
    assert photo_id("bridge.png") == "bridge"


def test_a_photo_of_coco_is_found_in_the_folders_of_2014_and_2017(tmp_path: Path) -> None:
    name = "COCO_val2014_000000000007.jpg"
    assert Photos(tmp_path).find(name) is None
    later = write(tmp_path / "coco" / "train2017" / "000000000007.jpg", b"")
    assert Photos(tmp_path).find(name) == Picture(str(later))
    first = write(tmp_path / "coco" / "val2014" / name, b"")
    assert Photos(tmp_path).find(name) == Picture(str(first))


TOKENS = "7_ab.jpg#0\tA kite .\n7_ab.jpg#1\tTwo\tkites .\n8_cd.jpg#0\tA bridge .\n"


def test_a_token_file_and_a_list_of_images(tmp_path: Path) -> None:
    captions = read_tokens(write(tmp_path / "t.txt", TOKENS))
    assert captions == {"7_ab.jpg": {0: "A kite .", 1: "Two\tkites ."}, "8_cd.jpg": {0: "A bridge ."}}
    chosen = write(tmp_path / "list.txt", "8_cd.jpg\n7_ab.jpg\n")
    rows = listed(chosen, captions)
    assert [(row.id, row.captions) for row in rows] == [("8", ("A bridge .",)), ("7", ("A kite .", "Two\tkites ."))]
    image = write(tmp_path / FLICKR30K[1] / "7_ab.jpg", b"")
    found = [row.image for row in listed(chosen, captions, *FLICKR30K)]
    assert found == [Picture(str(image.with_name("8_cd.jpg"))), Picture(str(image))]


def test_captions_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    captions = read_tokens(write(tmp_path / "t.txt", "a.jpg#zhm#10 桥\na.jpg#zhm#2 风筝\n"), " ")
    (row,) = listed(write(tmp_path / "list.txt", "a.jpg\n"), captions, language="zh")
    assert row.captions == ("风筝", "桥")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg#0 A kite\n", "line 1: not `image#number`, a separator and a caption"),
        ("a.jpg\tA kite\n", "line 1: not `image#number`"),
        ("a.jpg#x\tA kite\n", "line 1: not `image#number`"),
        ("#0\tA kite\n", "line 1: not `image#number`"),
        ("a.jpg#0\tA kite\n\n", "line 2: not `image#number`"),
        ("a.jpg#0\tA kite\na.jpg#0\tA bridge\n", "line 2: caption 0 of 'a.jpg' occurs twice"),
        ("a.jpg#0\tA kite\na.jpg#1\t \n", "line 2: the caption is empty"),
        ("a.jpg#0\tA kite\na.jp", "line 2: not `image#number`"),
        ("a.jpg#0\tA kite\na.jpg#1\tA brid", "line 2: the last line has no line end"),
        ("a.jpg#0\tA kite\n".encode("utf-16"), "line 1: the file is UTF-16"),
        (b"a.jpg#0\tEine Br\xfccke\n", "line 1: the file is not UTF-8"),
        ("", "the file is empty"),
    ],
)
def test_a_damaged_token_file_names_the_line(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_tokens(write(tmp_path / "t.txt", content))


def test_line_ends_and_a_byte_order_mark_make_no_difference(tmp_path: Path) -> None:
    plain = read_tokens(write(tmp_path / "t.txt", TOKENS))
    for content in (b"\xef\xbb\xbf" + TOKENS.encode(), TOKENS.replace("\n", "\r\n").encode()):
        assert read_tokens(write(tmp_path / "other.txt", content)) == plain


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg\nb.jpeg\n", "line 2: there are no captions of 'b.jpeg'"),
        ("a.jpg\na.jpg\n", "line 2: the image 'a.jpg' occurs twice"),
        ("a.jpg\n\n", "line 2: the line is blank"),
        ("a.jpg", "the last line has no line end"),
        ("a.jgp\n", "line 1: there are no captions of 'a.jgp'. Did you mean 'a.jpg'"),
    ],
)
def test_a_damaged_list_of_images_names_the_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        listed(write(tmp_path / "list.txt", content), {"a.jpg": {0: "A kite"}})


def test_photographs_that_the_captions_call_otherwise_are_not_left_out(tmp_path: Path) -> None:
    files = {
        "rows": (write(tmp_path / "flickr8k/captions/t.txt", "1_ab.jpg#0\tA kite\n2_cO.jpg#0\tA bridge\n"),),
        "images": (write(tmp_path / "list.txt", "1_ab.jpg\n3_cd.jpg\n"),),
    }
    assert [row.id for row in read_joined(files, "en", "test")] == ["1"]
    write(files["images"][0], "1_ab.jpg\n2_c0.jpg\n")
    with pytest.raises(DataError, match=r"list.txt, line 2: '2_cO.jpg' of t.txt is called '2_c0.jpg' here"):
        list(read_joined(files, "en", "test"))


@given(st.dictionaries(names, st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=4))
def test_token_round_trip(tmp_path_factory: pytest.TempPathFactory, made: dict[str, list[str]]) -> None:
    lines = [f"{name}#{at}\t{text}\n" for name, captions in made.items() for at, text in enumerate(captions)]
    path = write(tmp_path_factory.mktemp("token") / "t.txt", "".join(lines))
    assert read_tokens(path) == {name: dict(enumerate(captions)) for name, captions in made.items()}


BARS = "image_name| comment_number| comment\na.jpg| 0| A kite | a bridge .\na.jpg| 1   Two kites .\n"


def test_the_one_line_without_a_bar_is_read_only_where_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "results.csv", BARS)
    assert read_bars(path, (("a.jpg", 1),)) == {"a.jpg": {0: "A kite | a bridge .", 1: "Two kites ."}}
    for others in ((), (("a.jpg", 2),), (("b.jpg", 1),)):
        with pytest.raises(DataError, match=r"line 3: not `image\| number\| caption`: 'a.jpg\| 1   Two kites .'"):
            read_bars(path, others)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg| 0| A kite\n", "line 1: the header is 'a.jpg"),
        (BARS[:36] + "a.jpg| zero| A kite\n", "line 2: not `image"),
        (BARS[:36] + "a.jpg| 0| \n", "line 2: the caption is empty"),
        (BARS[:36] + "a.jpg| 0| a\r\na.jpg| 0| b\r\n", "line 3: caption 0 of 'a.jpg' occurs twice"),
    ],
)
def test_a_damaged_file_with_bars_names_the_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_bars(write(tmp_path / "results.csv", content))


def test_aligned_files_give_each_image_a_caption_of_each(tmp_path: Path) -> None:
    images = write(tmp_path / "data/task2/image_splits/i.txt", "7.jpg\nCOCO_val2014_000000000008.jpg#99\n")
    files = [write(tmp_path / f"{at}.de.gz", gzip.compress(f"eins {at}\nzwei {at}\n".encode())) for at in (1, 2)]

    def aligned(*captions: Path) -> list[Captioned]:
        return list(multi30k.read({"images": (images,), "rows": captions}, "de", "dev"))

    rows = aligned(*files)
    assert [(row.id, row.captions) for row in rows] == [("7", ("eins 1", "eins 2")), ("8", ("zwei 1", "zwei 2"))]
    write(files[1], "eins\n")
    with pytest.raises(DataError, match=r"2.de.gz: 1 lines, but i.txt has 2"):
        aligned(*files)
    write(images, "7.jpg\n7.jpg\n")
    with pytest.raises(DataError, match=r"i.txt, line 2: the image '7.jpg' occurs twice"):
        aligned(files[0])


def test_the_part_of_a_group_is_that_of_its_sha256() -> None:
    # SHA-256 of "The quick brown fox jumps over the lazy dog" begins with d7a8fbb307d7: 0.842 of the range
    assert part_of("The", "quick brown fox jumps over the lazy dog") == "dev"


def test_parts_are_80_10_and_10_percent() -> None:
    parts = [part_of("seed", str(group)) for group in range(10_000)]
    shares = [parts.count(part) / len(parts) for part in ("train", "dev", "test")]
    assert all(abs(share - wanted) < 0.015 for share, wanted in zip(shares, (0.8, 0.1, 0.1), strict=True))
