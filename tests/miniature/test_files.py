"""The cards can read the files, in the official formats with labels and in XTREME's without test labels."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from viaduct.miniature.lexicon import LANGUAGES, OF_TASK
from viaduct.rows import Pair, Sentence, Tagged
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue

CARDS = Catalogue.builtin()

SPLITS = {
    "xnli": ("train", "dev", "test"), "pawsx": ("train", "dev", "test"), "udpos": ("dev", "test"),
    "panx": ("dev", "test"), "xquad": ("test",), "mlqa": ("dev", "test"), "tydiqa": ("train", "test"),
    "bucc": ("dev", "test"), "tatoeba": ("test",),
}  # fmt: skip
"""Task -> splits that exist in every language of the task."""


@pytest.mark.parametrize("name", OF_TASK)
def test_cards_read_the_official_files_with_labels(small_world: Path, name: str) -> None:
    assert set(OF_TASK[name]) <= set(CARDS.task(name).languages)
    for split in SPLITS[name]:
        for language in OF_TASK[name]:
            assert read(CARDS.task(name), small_world, language, split).labelled


@pytest.mark.parametrize(
    ("name", "split", "language"),
    [("mnli", "train", "en"), ("mnli", "dev", "en"), ("squad", "train", "en"), ("squad", "dev", "en"),
     ("udpos", "train", "en"), ("panx", "train", "en"), ("tydiqa", "dev", "en"),
     *(("text", "train", language) for language in LANGUAGES),
     *(("ntrex", "train", language) for language in LANGUAGES[1:])],
)  # fmt: skip
def test_cards_read_the_training_files(small_world: Path, name: str, split: str, language: str) -> None:
    data = read(CARDS.task(name), small_world, language, split)
    assert data.labelled or name == "ntrex"


@pytest.mark.parametrize("name", OF_TASK)
def test_download_alone_has_the_same_rows_without_test_labels(small_world: Path, name: str) -> None:
    for split in (split for split in SPLITS[name] if split != "train"):
        for language in OF_TASK[name]:
            official = read(CARDS.task(name), small_world, language, split)
            stripped = read(CARDS.task(name), small_world / "download", language, split)
            assert stripped.labelled == (split == "dev")
            if name == "tatoeba":
                check_hidden_order(official.rows, stripped.rows)
            else:
                assert [shown(row) for row in stripped.rows] == [shown(row) for row in official.rows]


def shown(row: object) -> tuple[object, ...]:
    """The content of a row without its label."""
    names = ("id", "first", "second", "tokens", "context", "question", "text", "side")
    return tuple(getattr(row, name) for name in names if hasattr(row, name))


def check_hidden_order(official: object, stripped: object) -> None:
    def side(rows: object, name: str) -> list[str]:
        return [row.text for row in rows if isinstance(row, Sentence) and row.side == name]  # type: ignore[attr-defined]

    assert side(stripped, "source") == side(official, "source")
    assert side(stripped, "target") == sorted(side(official, "target"))
    assert side(stripped, "target") != side(official, "target")


@pytest.mark.parametrize("split", ["train", "dev", "test"])
@pytest.mark.parametrize("name", ["xnli", "pawsx"])
def test_labels_are_balanced(small_world: Path, name: str, split: str) -> None:
    counts = Counter(
        row.label for row in read(CARDS.task(name), small_world, "en", split).rows if isinstance(row, Pair)
    )
    assert set(counts) == set(CARDS.task(name).labels)
    assert len(set(counts.values())) == 1


def test_xtreme_tables_have_its_line_ends_and_no_header(small_world: Path) -> None:
    test = (small_world / "download" / "xnli" / "test-de.tsv").read_bytes()
    assert test.count(b"\r\n") == test.count(b"\n") == test.count(b"\t")
    dev = (small_world / "download" / "xnli" / "dev-de.tsv").read_bytes()
    assert dev.count(b"\t") == 2 * dev.count(b"\r\n")


def test_every_tag_of_the_constructions_occurs(small_world: Path) -> None:
    def tags(name: str) -> set[str]:
        rows = read(CARDS.task(name), small_world, "en", "train").rows
        return {tag for row in rows if isinstance(row, Tagged) for tag in row.tags or ()}

    assert tags("udpos") == {"NOUN", "PROPN", "NUM", "X", "SYM", "CCONJ", "PUNCT"}
    assert tags("panx") == set(CARDS.task("panx").labels) - {"I-LOC"} | ({"I-LOC"} & tags("panx"))


def test_arabic_trees_have_contractions(small_world: Path) -> None:
    tree = next((small_world / "ud-treebanks-v2.5").glob("UD_Arabic-*/ar_*-ud-test.conllu")).read_text()
    assert any("-" in line.split("\t")[0] for line in tree.splitlines() if line[:1].isdigit())
    assert any("." in line.split("\t")[0] for line in tree.splitlines() if line[:1].isdigit())


def test_chinese_entities_are_characters(small_world: Path) -> None:
    rows = read(CARDS.task("panx"), small_world, "zh", "test").rows
    assert any(row.tags and "I-LOC" in row.tags for row in rows if isinstance(row, Tagged))
    assert all(len(token) == 1 for row in rows if isinstance(row, Tagged) for token in row.tokens if token.isalpha())


@pytest.mark.parametrize("language", OF_TASK["bucc"])
def test_mining_has_sentences_without_partner(small_world: Path, language: str) -> None:
    rows = [row for row in read(CARDS.task("bucc"), small_world, language, "test").rows if isinstance(row, Sentence)]
    for side in ("source", "target"):
        matched = [bool(row.match) for row in rows if row.side == side]
        assert 0 < sum(matched) < len(matched)


@pytest.mark.parametrize("split", ["train", "val"])
def test_captions_belong_to_pictures(small_world: Path, split: str) -> None:
    folder = small_world / "coco"
    of_language = {}
    for language in LANGUAGES:
        suffix = "" if language == "en" else f".{language}"
        content = json.loads((folder / "annotations" / f"captions_{split}2017{suffix}.json").read_text())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        of_language[language] = [(one["image_id"], one["caption"]) for one in content["annotations"]]
        assert {image for image, _ in of_language[language]} == set(names)
        for name in names.values():
            with Image.open(folder / f"{split}2017" / name) as image:
                assert image.size == (64, 64)
                assert len(image.getcolors(maxcolors=64 * 64) or ()) > 2
    assert len({tuple(image for image, _ in captions) for captions in of_language.values()}) == 1
    assert of_language["en"] != of_language["de"]


def test_validation_captions_are_not_in_training(small_world: Path) -> None:
    def captions(split: str) -> set[str]:
        content = json.loads((small_world / "coco" / "annotations" / f"captions_{split}2017.json").read_text())
        return {one["caption"] for one in content["annotations"]}

    assert not captions("train") & captions("val")
