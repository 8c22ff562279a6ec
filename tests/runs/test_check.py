from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from viaduct import api, cli
from viaduct.miniature import world
from viaduct.tables import survey
from viaduct.tasks.catalogue import Catalogue

SENTENCES = {
    ("train", "en"): "Ann\tB-PER\ncame\tO\n\nParis\tB-LOC\n\nParis\tB-LOC\n\n",
    ("dev", "en"): "Ann\tB-PER\ncame\tO\n\nBob\tB-PER\n\n",
    ("test", "de"): "Ann\nkam\n\nParis\n\n",
    ("test", "sw"): "Asha\tB-PER\nalikuja\tNOUN\n\n",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """PAN-X in XTREME's layout: a duplicate in training, an overlap, stripped labels, and an invalid label."""
    folder = tmp_path / "data" / "panx"
    folder.mkdir(parents=True)
    for (split, language), text in SENTENCES.items():
        (folder / f"{split}-{language}.tsv").write_text(text, encoding="utf-8")
    return folder.parent


def test_a_survey_counts_labels_lengths_duplicates_and_overlap(data: Path) -> None:
    (found,) = api.check("panx", data=data)
    held = {(one.split, one.language): one for one in found.holdings}
    assert set(held) == {("train", "en"), ("dev", "en"), ("test", "de")}
    train, dev, test = held["train", "en"], held["dev", "en"], held["test", "de"]
    assert (train.rows, train.rows_published, train.duplicates, train.overlap) == (3, 20_000, 1, None)
    assert [*train.labels.items()] == [("B-LOC", 0.5), ("B-PER", 0.25), ("O", 0.25)]
    assert (train.median_characters, train.longest_characters) == (5, 7)
    assert (dev.duplicates, dev.overlap, dev.trained_on) == (0, 1, "panx train en")
    assert (test.unlabelled, test.labels, test.overlap) == (2, {}, 1)
    assert found.absent["dev"][0] == "af" and "en" not in found.absent["dev"]
    assert len(found.damaged) == 1 and "test-sw.tsv" in found.damaged[0]


def test_the_command_prints_all_of_it_and_fails_on_damaged_files(data: Path) -> None:
    done = CliRunner().invoke(cli.app, ["check", "panx", "--data", str(data)])
    assert done.exit_code == 1
    assert "stripped: cannot be scored" in done.output and "1 of panx train en" in done.output
    assert "damaged: " in done.output and "test-sw.tsv, line 2: unknown tag 'NOUN'" in done.output
    (data / "panx" / "test-sw.tsv").unlink()
    assert CliRunner().invoke(cli.app, ["check", "panx", "--data", str(data)]).exit_code == 0


def test_a_language_that_a_shared_file_lacks_is_absent_and_the_file_is_not_damaged(tmp_path: Path) -> None:
    world.write(tmp_path / "data", scale=0.001)
    for found in api.check(data=tmp_path / "data"):
        assert found.damaged == ()
    xnli = api.check("xnli", data=tmp_path / "data")[0].absent
    assert "ur" in xnli["test"] and "de" not in xnli["test"]


COCO = {"train": (1, 2, 3), "val": (3, 4)}
"""Split -> image numbers; 3 is in both splits, and 2 is not on disk."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """COCO's files, with English captions of every image and Swahili ones of the evaluation images only."""
    folder = tmp_path / "pictures" / "coco"
    (folder / "annotations").mkdir(parents=True)
    for split, ids in COCO.items():
        (folder / f"{split}2017").mkdir()
        for id in set(ids) - {2}:
            (folder / f"{split}2017" / f"{id}.jpg").write_bytes(b"")
        content = {
            "info": {"origin": "people"},
            "images": [{"id": id, "file_name": f"{id}.jpg"} for id in ids],
            "annotations": [{"id": id, "image_id": id, "caption": "A kite."} for id in ids]
            + [{"id": 9, "image_id": ids[0], "caption": "A long red kite."}],
        }
        for suffix in ("", ".sw") if split == "val" else ("",):
            path = folder / "annotations" / f"captions_{split}2017{suffix}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
    return folder.parent


def test_images_are_counted_and_those_missing_or_shared_are_named(pictures: Path) -> None:
    (found,) = api.check("coco", data=pictures)
    held = {(one.split, one.language): one for one in found.holdings}
    assert set(held) == {("train", "en"), ("dev", "en"), ("dev", "sw")}
    train, dev, swahili = held["train", "en"], held["dev", "en"], held["dev", "sw"]
    seen = [one.inspection for one in (train, dev, swahili)]
    assert [one and one.contents for one in seen] == [
        {"captions": captions, "fewest per image": 1, "most per image": 2} for captions in (4, 3, 3)
    ]
    assert [one and one.state for one in seen] == [{"no image": 0, "not on disk": missing} for missing in (1, 0, 0)]
    named = [one.named for one in seen if one is not None]
    assert [[Path(path).name for path in one["not on disk"]] for one in named] == [["2.jpg"], [], []]
    assert (train.median_characters, train.longest_characters, train.duplicates) == (7, 16, 1)
    assert [one["in training rows too"] for one in named] == [(), ("3",), ("3",)] and dev.overlap == 1
    assert swahili.trained_on == "coco train"  # although training is in English only


def test_the_table_of_images_names_the_first_of_them(pictures: Path) -> None:
    done = CliRunner().invoke(cli.app, ["check", "coco", "--data", str(pictures)])
    assert done.exit_code == 0, done.output
    train = next(line for line in done.output.splitlines() if line.startswith("train"))
    assert train.split() == ["train", "en", "official", "3", "118,287", "4", "1", "2", "7", "16", "1", "0", "1", "-"]
    assert f"not on disk: 1 of 3 images of train en: {pictures}/coco/train2017/2.jpg" in done.output
    assert "in training rows too: 1 of 2 images of dev en sw: 3" in done.output
    for image in (pictures / "coco").glob("*/*.jpg"):
        image.unlink()
    for split in COCO:
        (pictures / "coco" / f"{split}2017").rmdir()
    (found,) = api.check("coco", data=pictures)
    assert [one.inspection and one.inspection.state["no image"] for one in found.holdings] == [3, 2, 2]


def test_every_task_is_looked_at_where_none_is_named(data: Path) -> None:
    found = {one.task: one for one in api.check(data=data)}
    assert len(found) >= 11
    assert not found["xnli"].holdings and found["xnli"].absent["test"][0] == "ar"


def test_gold_pairs_are_set_beside_the_published_number(tmp_path: Path) -> None:
    folder = tmp_path / "bucc2018"
    folder.mkdir()
    for side, ids in (("de", ("de-1", "de-2")), ("en", ("en-1", "en-2"))):
        (folder / f"de-en.dev.{side}").write_text("".join(f"{id}\tTee {id}\n" for id in ids))
    for gold, pairs in (("de-1\ten-2\nde-2\ten-1\n", 2), ("de-1\ten-2\n", 1)):
        (folder / "de-en.dev.gold").write_text(gold)
        (found,) = api.check("bucc", data=tmp_path)
        assert f"gold pairs {pairs}, published 1,038" in survey(found)


STRIPPED = {"xnli": {"test"}, "pawsx": {"test"}, "panx": {"test"}, "tydiqa": {"test"}}


@pytest.mark.parametrize("name", [card.name for card in Catalogue.builtin()])
def test_real_files_are_whole(shared_data: Path, name: str) -> None:
    """Every available split can be read, and stripped labels are recognised as such."""
    (found,) = api.check(name, data=shared_data)
    assert not found.damaged
    stripped = {held.split for held in found.holdings if held.unlabelled == held.rows}
    assert stripped >= STRIPPED.get(name, set())
    if name == "bucc":
        zh = next(held for held in found.holdings if held.language == "zh")
        assert zh.rows == zh.rows_published == 8_624 + 13_589 and zh.pairs == zh.pairs_published == 257
