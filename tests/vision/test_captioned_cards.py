"""The captioned cards: each published form, and the pitfalls of the real files if they are available."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from holdings import languages_there

from viaduct.errors import DataError, NoRowsError
from viaduct.languages import LANGUAGES as TABLE
from viaduct.languages import XTREME
from viaduct.tasks.card import Task, read
from viaduct.tasks.catalogue import Catalogue
from viaduct.vision.cards import coco, emoji, flickr8k, flickr30k, multi30k, storybooks, xflickrco, xm3600
from viaduct.vision.rows import Captioned, Picture

CARDS = [card for card in Catalogue.builtin() if card.kind == "captioned"]
SPLITS = ("train", "dev", "test")


def put(data: Path, name: str, content: object) -> Path:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def rows(card: Task, data: Path, language: str, split: str) -> list[Captioned]:
    found = read(card, data, language, split).rows
    assert all(isinstance(row, Captioned) for row in found)
    return [row for row in found if isinstance(row, Captioned)]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_cards_are_trained_on_and_never_scored(card: Task) -> None:
    assert all(code in TABLE for code in card.languages)
    assert (card.metric, card.metrics, card.trained_on) == (None, (), None)
    assert card.licence and card.citation
    assert {language for language, _ in card.expected} <= set(card.languages)


def annotations(text: str, **info: str) -> dict[str, object]:
    return {
        "info": info,
        "images": [{"id": 42, "file_name": "000000000042.jpg"}],
        "annotations": [{"id": 1, "image_id": 42, "caption": text}],
    }


def test_coco_and_its_translations(tmp_path: Path) -> None:
    put(tmp_path, "coco/annotations/captions_val2017.json", annotations("A kite."))
    put(tmp_path, "coco/annotations/captions_val2017.sw.json", annotations("Tiara.", origin="machine"))
    assert rows(coco.CARD, tmp_path, "en", "dev") == [Captioned("42", "en", None, ("A kite.",), "people")]
    image = put(tmp_path, "coco/val2017/000000000042.jpg", "")
    assert rows(coco.CARD, tmp_path, "sw", "dev") == [
        Captioned("42", "sw", Picture(str(image)), ("Tiara.",), "machine")
    ]
    dataset = read(coco.CARD, tmp_path, "en", "dev")
    assert (len(dataset.rows), dataset.expected) == (1, 5_000)
    assert languages_there(coco.CARD, tmp_path, "dev") == ("en", "sw")
    put(tmp_path, "coco/annotations/captions_val2017.de.json", annotations("Drachen."))
    with pytest.raises(DataError, match=r"captions_val2017.de.json: it does not say who made the captions"):
        rows(coco.CARD, tmp_path, "de", "dev")


def karpathy(*images: tuple[str, str]) -> dict[str, object]:
    return {
        "images": [
            {"filename": name, "split": split, "sentences": [{"raw": f"{name} {at}"} for at in range(5)]}
            for name, split in images
        ]
    }


def test_karpathys_coco_has_the_ids_of_coco(tmp_path: Path) -> None:
    put(tmp_path, "coco/dataset_coco.json", karpathy(("COCO_val2014_000000000042.jpg", "test")))
    image = put(tmp_path, "coco/train2017/000000000042.jpg", "")
    (row,) = rows(coco.KARPATHY, tmp_path, "en", "test")
    assert (row.id, row.image, len(row.captions)) == ("42", Picture(str(image)), 5)


PHOTOS = (("1.jpg", "train"), ("2.jpg", "dev"), ("2199200615.jpg", "train"), ("4.jpg", "test"))


def flickr30k_lists(data: Path) -> None:
    for split, word in (("train", "train"), ("dev", "val"), ("test", "test_2016_flickr")):
        names = "".join(f"{name}\n" for name, of in PHOTOS if of == split)
        put(data, f"multi30k/data/task1/image_splits/{word}.txt", names)


def test_the_three_forms_of_flickr30k_are_the_same_rows(tmp_path: Path) -> None:
    lines = [(name, at, f"{name} {at}") for name, _ in PHOTOS for at in range(5)]
    forms = {
        "dataset_flickr30k.json": karpathy(*((name, "val" if split == "dev" else split) for name, split in PHOTOS)),
        "results_20130124.token": "".join(f"{name}#{at}\t{text}\n" for name, at, text in lines),
        "results.csv": "image_name| comment_number| comment\n"
        + "".join(
            f"{name}| {at}   {text}\n" if (name, at) in flickr30k.UNPARTED else f"{name}| {at}| {text}\n"
            for name, at, text in lines
        ),
    }
    found = []
    for at, (name, content) in enumerate(forms.items()):
        data = tmp_path / str(at)
        put(data, f"flickr30k/{name}", content)
        flickr30k_lists(data)
        found.append([rows(flickr30k.CARD, data, "en", split) for split in SPLITS])
    assert found[0] == found[1] == found[2]
    assert [[row.id for row in split] for split in found[0]] == [["1", "2199200615"], ["2"], ["4"]]


def test_another_line_without_a_bar_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "flickr30k/results.csv", "image_name| comment_number| comment\n1.jpg| 0   A kite .\n")
    flickr30k_lists(tmp_path)
    with pytest.raises(DataError, match=r"results.csv, line 2: not `image\| number\| caption`: '1.jpg\| 0   A kite"):
        rows(flickr30k.CARD, tmp_path, "en", "train")


def test_flickr8k_in_two_languages(tmp_path: Path) -> None:
    put(tmp_path, "flickr8k/Flickr8k_text/Flickr8k.token.txt", "7_ab.jpg#0\tA kite .\n8_cd.jpg.1#0\tA bridge .\n")
    put(tmp_path, "flickr8k/flickr8kcn/flickr8kzhmtest.captions.txt", "7_ab.jpg#zhm#0 风筝\n")
    put(tmp_path, "flickr8k/Flickr8k_text/Flickr_8k.testImages.txt", "7_ab.jpg\n")
    english, chinese = (rows(flickr8k.CARD, tmp_path, code, "test") for code in ("en", "zh"))
    assert [(row.id, row.captions) for row in (*english, *chinese)] == [("7", ("A kite .",)), ("7", ("风筝",))]


def test_multi30k_finds_the_photos_of_flickr30k_and_coco(tmp_path: Path) -> None:
    put(tmp_path, "multi30k/data/task1/image_splits/test_2017_mscoco.txt", "COCO_train2014_000000000042.jpg#7\n")
    put(tmp_path, "multi30k/data/task1/raw/test_2017_mscoco.fr.gz", "Un pont.\n")
    put(tmp_path, "multi30k/data/task2/image_splits/val_images.txt", "7.jpg\n")
    for at in range(1, 6):
        put(tmp_path, f"multi30k/data/task2/raw/val.{at}.de.gz", f"Brücke {at}.\n")
    photo, other = (
        put(tmp_path, "coco/train2017/000000000042.jpg", ""),
        put(tmp_path, "flickr30k/flickr30k-images/7.jpg", ""),
    )
    assert rows(multi30k.CARD, tmp_path, "fr", "test_coco") == [
        Captioned("42", "fr", Picture(str(photo)), ("Un pont.",), "people")
    ]
    assert rows(multi30k.TASK2, tmp_path, "de", "dev") == [
        Captioned("7", "de", Picture(str(other)), tuple(f"Brücke {at}." for at in range(1, 6)), "people")
    ]


def test_xm3600_has_our_languages_under_its_codes(tmp_path: Path) -> None:
    record = {"image/key": "ab", "fil": {"caption": ["Tulay"]}, "quz": {"caption": ["Chaka", "Chaka."]}}
    path = put(tmp_path, "xm3600/captions.jsonl", json.dumps(record) + "\n")
    assert [row.captions for code in ("tl", "qu") for row in rows(xm3600.CARD, tmp_path, code, "test")] == [
        ("Tulay",),
        ("Chaka", "Chaka."),
    ]
    assert len(xm3600.CARD.languages) == 31
    with pytest.raises(DataError, match="line 1: not a JSON object with image/key, sw"):
        rows(xm3600.CARD, tmp_path, "sw", "test")
    for made, message in (([], "has no list of captions"), ([""], "the caption is empty"), ("x", "has no list")):
        path.write_text(json.dumps({"image/key": "ab", "sw": {"caption": made}}) + "\n", encoding="utf-8")
        with pytest.raises(DataError, match=f"line 1: .*{message}"):
            rows(xm3600.CARD, tmp_path, "sw", "test")


def test_a_blank_caption_of_xflickrco_is_left_out_and_counted(tmp_path: Path) -> None:
    records = [{"sentences": [text], "id": at, "img_path": f"{at}.jpg"} for at, text in enumerate(("Brücke", " "), 7)]
    put(tmp_path, "xFlickrCO/annotations/de/test.jsonl", "".join(json.dumps(one) + "\n" for one in records))
    found = read(xflickrco.CARD, tmp_path, "de", "test")
    assert [row.id for row in found.rows] == ["7"]
    assert (len(found.rows), found.expected) == (1, 2_000)
    put(tmp_path, "xFlickrCO/annotations/en/test.jsonl", json.dumps({**records[0], "sentences": "A bridge"}) + "\n")
    with pytest.raises(DataError, match="line 1: 'sentences' is not a list of captions"):
        rows(xflickrco.CARD, tmp_path, "en", "test")


@pytest.mark.parametrize(
    ("codepoints", "shown"),
    [
        ("1f415", "1f415"),
        ("1f468", "1f468"),
        ("1f466", "1f466"),
        ("1f468_200d_1f33e", "1f33e"),
        ("1f9d1_200d_1f33e", "1f33e"),
        ("1f3c3_200d_2640", "1f3c3"),
        ("1f3c3", "1f3c3"),
        ("1f468_200d_1f469_200d_1f466", "1f46a"),
        ("1f9d1_200d_1f9d2", "1f46a"),
        ("1f46a", "1f46a"),
        ("2640", "2640"),
    ],
)
def test_emoji_of_one_concept(codepoints: str, shown: str) -> None:
    assert emoji.concept(codepoints) == shown


def test_an_emoji_without_a_name_is_no_row_and_a_language_without_names_is_absent(tmp_path: Path) -> None:
    table = "codepoints\tgroup\tsubgroup\ten\tsw\tyo\n1f415\ta\tb\tdog\tmbwa\t\n1f431\ta\tb\tcat\t\t\n"
    put(tmp_path, "emoji/names.tsv", table)

    def ids(language: str) -> set[str]:
        found = set()
        for split in SPLITS:
            try:
                found |= {row.id for row in rows(emoji.CARD, tmp_path, language, split)}
            except DataError as error:
                assert not isinstance(error, NoRowsError)
        return found

    assert (ids("en"), ids("sw")) == ({"1f415", "1f431"}, {"1f415"})
    with pytest.raises(NoRowsError, match="no emoji has a name in 'yo'"):
        rows(emoji.CARD, tmp_path, "yo", "train")
    with pytest.raises(DataError, match="unknown column 'de'"):
        rows(emoji.CARD, tmp_path, "de", "train")


STORY = "# A boat\n\n##\nThe boat\nwas red.\n\n##\n\n##\nIt sank.\n\n##\n* License: [CC-BY]\n* Text: Nobody\n"


def story_split(data: Path, language: str = "en") -> tuple[str, list[Captioned]]:
    for split in SPLITS:
        try:
            return split, rows(storybooks.CARD, data, language, split)
        except NoRowsError:
            continue
    raise AssertionError("the story is in no split")


def test_the_text_of_page_k_belongs_to_picture_k_plus_1(tmp_path: Path) -> None:
    put(tmp_path, "storybooks/asp-source/en/0001_a-boat.md", STORY)
    put(tmp_path, "storybooks/global-asp/sw/0001_mashua.md", STORY.replace("\n", "\r\n"))
    for number in range(1, 6):
        put(tmp_path, f"storybooks/gsn-imagebank/0001/{number:02d}.jpg", "")
    folder = tmp_path / "storybooks/gsn-imagebank/0001"
    split, found = story_split(tmp_path)
    assert found == [
        Captioned("0001/02", "en", Picture(str(folder / "02.jpg")), ("The boat was red.",), "people"),
        Captioned("0001/04", "en", Picture(str(folder / "04.jpg")), ("It sank.",), "people"),
    ]
    other, translated = story_split(tmp_path, "sw")
    assert (other, [row.captions for row in translated]) == (split, [row.captions for row in found])


@pytest.mark.parametrize(
    ("name", "content", "pictures", "message"),
    [
        ("0001_a.md", STORY, 6, "3 pages, but the last picture is number 6: page k would not belong to picture k"),
        ("0001_a.md", STORY, 3, "3 pages, but the last picture is number 3"),
        ("0001_a.md", STORY[:-40], 5, r"its last block does not begin with '\* License:'"),
        ("0001_a.md", "# A boat\n", 5, "its last block does not begin"),
        ("0001_a.md", "", 5, "the file is empty"),
        ("a.md", STORY, 5, "its name is not NUMBER_title.md"),
    ],
)
def test_a_damaged_story_is_named(tmp_path: Path, name: str, content: str, pictures: int, message: str) -> None:
    put(tmp_path, f"storybooks/asp-source/en/{name}", content)
    for number in range(1, pictures + 1):
        put(tmp_path, f"storybooks/gsn-imagebank/0001/{number:02d}.jpg", "")
    with pytest.raises(DataError, match=message) as caught:
        story_split(tmp_path)
    assert name in str(caught.value)


def test_a_story_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for title in ("a-boat", "b-boat"):
        put(tmp_path, f"storybooks/asp-source/en/0001_{title}.md", STORY)
    with pytest.raises(DataError, match=r"0001_b-boat.md: story 0001 is also 0001_a-boat.md"):
        story_split(tmp_path)


@pytest.mark.parametrize(
    ("card", "language", "splits", "each"),
    [
        (flickr8k.CARD, "en", SPLITS, 5),
        (flickr8k.CARD, "zh", ("test",), 5),
        *((multi30k.CARD, language, tuple(multi30k.CARD.sources[0].splits), 1) for language in ("en", "de", "fr")),
        *((multi30k.TASK2, language, ("dev", "test"), 5) for language in ("en", "de")),
    ],
    ids=lambda value: value.name if isinstance(value, Task) else None,
)
def test_real_counts_equal_the_published(
    shared_data: Path, card: Task, language: str, splits: tuple[str, ...], each: int
) -> None:
    for split in splits:
        found = read(card, shared_data, language, split)
        assert found.expected == len(found.rows)
        assert {len(row.captions) for row in found.rows if isinstance(row, Captioned)} == {each}


def test_real_xflickrco_has_one_blank_caption_in_two_languages(shared_data: Path) -> None:
    counts = {code: len(rows(xflickrco.CARD, shared_data, code, "test")) for code in xflickrco.LANGUAGES}
    assert counts == dict.fromkeys(xflickrco.LANGUAGES, 2_000) | {"de": 1_999, "id": 1_999}


def test_real_photos_are_shared_between_datasets(shared_data: Path) -> None:
    def ids(card: Task, split: str) -> set[str]:
        return {row.id for row in rows(card, shared_data, "en", split)}

    flickr, xflickrco_ids = {split: ids(flickr8k.CARD, split) for split in SPLITS}, ids(xflickrco.CARD, "test")
    multi = {split: ids(multi30k.CARD, split) for split in SPLITS}
    assert len(flickr["train"] & multi["test"]) == 173 and len(flickr["test"] & multi["train"]) == 871
    assert multi["test"] < xflickrco_ids and not multi["train"] & xflickrco_ids


def test_real_emoji(shared_data: Path) -> None:
    parts = {code: {split: rows(emoji.CARD, shared_data, code, split) for split in SPLITS} for code in XTREME}
    ids = {code: {split: {row.id for row in found} for split, found in of.items()} for code, of in parts.items()}
    totals = {code: sum(map(len, of.values())) for code, of in ids.items()}
    assert totals == {code: 1_637 if code in ("id", "jv", "tl") else 1_650 for code in XTREME}
    assert {split: len(found) for split, found in ids["en"].items()} == {"train": 1_313, "dev": 180, "test": 157}
    assert all(ids[code][split] <= ids["en"][split] for code in XTREME for split in SPLITS)
    of_concept: dict[str, set[str]] = {}
    of_picture: dict[str, set[str]] = {}
    for split in SPLITS:
        for row in parts["en"][split]:
            assert row.image is not None
            of_concept.setdefault(emoji.concept(row.id), set()).add(split)
            content = hashlib.sha256(Path(row.image.path).read_bytes()).hexdigest()
            of_picture.setdefault(content, set()).add(split)
    assert len(of_picture) < 1_650  # Noto draws some emoji identically
    assert {len(splits) for splits in (*of_concept.values(), *of_picture.values())} == {1}


def test_real_storybooks(shared_data: Path) -> None:
    stories: dict[str, set[str]] = {}
    pages: Counter[str] = Counter()
    for split in SPLITS:
        languages = languages_there(storybooks.CARD, shared_data, split)
        assert len(languages) == 25
        for code in languages:
            for row in rows(storybooks.CARD, shared_data, code, split):
                assert row.image is not None and Path(row.image.path).is_file()
                assert not row.id.endswith("/01") and "License" not in row.captions[0]
                stories.setdefault(row.id[:4], set()).add(split)
                pages[code] += 1
    assert len(stories) == 18 and {len(splits) for splits in stories.values()} == {1}
    assert Counter(split for splits in stories.values() for split in splits) == {"train": 11, "dev": 4, "test": 3}
    assert pages["en"] == pages["zh"] == 185 and max(pages.values()) == 185
