"""Translations as they are published: XTREME's files, and any others through a mapping."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from viaduct.errors import DataError
from viaduct.fusion.cards import CARDS as TRANSLATIONS
from viaduct.fusion.matching import Matched, match
from viaduct.rows import Answer, Pair, Span, TranslatedPair
from viaduct.tasks.answers import realigned
from viaduct.tasks.card import locate, read
from viaduct.tasks.catalogue import Catalogue, card_of_file

CARDS = Catalogue.builtin()


def write(folder: Path, name: str, content: Any) -> None:
    path = folder / "xtreme_translations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), encoding="utf-8")


def questions(*given: tuple[str, str, str, int]) -> dict[str, Any]:
    """SQuAD's JSON for questions given as (id, context, answer, start)."""
    return {
        "data": [
            {
                "paragraphs": [
                    {
                        "context": context,
                        "qas": [{"id": id, "question": "?", "answers": [{"text": text, "answer_start": start}]}],
                    }
                    for id, context, text, start in given
                ]
            }
        ]
    }


@pytest.mark.parametrize(("folder", "name", "label"), [("XNLI", "xnli", "neutral"), ("PAWSX", "pawsx", "1")])
def test_pairs_translated_into_english_have_the_ids_and_texts_of_the_test_rows(
    folder: str, name: str, label: str, tmp_path: Path
) -> None:
    place = f"{folder}/translate-test/test-de-en-translated.tsv"
    write(tmp_path, place, f'Der Kessel.\tTee.\tThe "kettle.\tTea.\t{label}\nZwei.\tDrei.\tTwo.\tThree.\t{label}\n')
    assert read(CARDS.task(f"{name}_to_english"), tmp_path, "de", "test").rows == (
        TranslatedPair("0", "de", 'The "kettle.', "Tea.", label, ("Der Kessel.", "Tee.")),
        TranslatedPair("1", "de", "Two.", "Three.", label, ("Zwei.", "Drei.")),
    )
    write(tmp_path, place, '"Er sagt ""Tee""."\tDrei.\t"He says ""tea""."\tThree.\n')
    (row,) = read(CARDS.task(f"{name}_to_english"), tmp_path, "de", "test").rows
    assert row == TranslatedPair("0", "de", 'He says "tea".', "Three.", None, ('Er sagt "Tee".', "Drei."))


ORIGINALS = [Pair(str(at), "de", f"Satz {at}, so.", f"Tee {at}?", "neutral") for at in range(10)]
LINES = [f"Satz {at},  so .\tTee {at}?\tLine {at}.\tTea {at}?\tneutral\n" for at in range(10)]


def matched(folder: Path, lines: list[str], most_missing: float = 0.0) -> Matched:
    """The test rows above with translations from these lines."""
    write(folder, "XNLI/translate-test/test-de-en-translated.tsv", "".join(lines))
    others = read(CARDS.task("xnli_to_english"), folder, "de", "test").rows
    return match(ORIGINALS, others, "de", most_missing, "xnli_to_english test")


def test_translations_go_with_the_rows_that_they_translate(tmp_path: Path) -> None:
    found = matched(tmp_path, LINES)
    assert found.translations == tuple(Pair(str(at), "de", f"Line {at}.", f"Tea {at}?", "neutral") for at in range(10))
    assert (found.coverage.missing, found.coverage.unknown) == (0, 0)
    bare = matched(tmp_path, [line.rpartition("\t")[0] + "\n" for line in LINES])
    assert bare.translations == found.translations


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [LINES[0], LINES[2], LINES[1], *LINES[3:]],
            "2 of 10 rows have no .* first is '1' .the translation with this id is",
        ),
        ([*LINES[1:], LINES[-1]], "9 of 10 rows have no translation"),
        (LINES[::-1], "10 of 10 rows have no translation .* 10 of 10 translations belong to no row"),
        (["premise\thypothesis\ta\tb\tneutral\n", *LINES[:-1]], "10 of 10 rows have no translation"),
        (["a\tb\tc\td\n"] * 10, "10 of 10 rows have no translation"),
        ([LINES[0].replace("neutral", "entailment"), *LINES[1:]], "first is '0' .* or has another label"),
        ([LINES[0], LINES[1].replace("Line 1.", " "), *LINES[2:]], "line 2: a text or label is blank"),
        (["premise\thypothesis\ta\tb\tlabel\n", *LINES[:-1]], "line 1: unknown label 'label'"),
    ],
)
def test_translations_of_something_else_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        matched(tmp_path, lines)


def test_translations_of_something_else_count_as_missing_where_some_may(tmp_path: Path) -> None:
    found = matched(tmp_path, [LINES[1], LINES[0], *LINES[2:]], most_missing=0.2)
    assert found.at.tolist() == list(range(2, 10))
    assert (found.coverage.missing, found.coverage.unknown) == (2, 2)


def test_pawsx_and_mnli_read_xtremes_translations(tmp_path: Path) -> None:
    write(tmp_path, "PAWSX/translate-train/en-fr-translated.tsv", "One.\tTwo.\tUn.\tDeux.\t1\n")
    write(tmp_path, "XNLI/translate-train/en-fr-translated.tsv", "One.\tTwo.\tUn.\tDeux.\tcontradictory\n")
    for name, label, other in (("pawsx", "1", "0"), ("mnli", "contradiction", "neutral")):
        rows = read(CARDS.task(name), tmp_path, "fr", "train").rows
        assert rows == (TranslatedPair("0", "fr", "Un.", "Deux.", label, ("One.", "Two.")),)
        assert match([Pair("0", "en", "One.", "Two.", label)], rows, "fr", 0.0, name).coverage.missing == 0
        with pytest.raises(DataError, match="1 of 1 rows have no translation"):
            match([Pair("0", "en", "One.", "Two.", other)], rows, "fr", 0.0, name)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("squad", "SQuAD/translate-train/squad.translate.train.en-ru.json"),
        ("tydiqa", "TyDiQA-GoldP/translate-train/tydiqa.translate.train.en-ru.json"),
    ],
)
def test_answers_are_realigned_and_lost_ones_leave_the_question_out(name: str, place: str, tmp_path: Path) -> None:
    content = questions(
        ("a", "Тэй течёт в Перт.", "Перт", 12), ("b", "Перт и Перт.", "Перт", 6), ("c", "Нет.", "Перт", 0)
    )
    write(tmp_path, place, content)
    found = read(CARDS.task(f"{name}_translated"), tmp_path, "ru", "train")
    assert [(row.id, row.gold) for row in found.rows] == [("a", (Answer("Перт", 12),)), ("b", (Answer("Перт", 7),))]
    assert found.expected is not None and found.expected > len(found.rows)  # both are in the report
    write(tmp_path, place, questions(("a", "Тэй.", "Tay", 0), ("b", "Перт.", "Perth", 0)))
    with pytest.raises(DataError, match="not one answer to 2 questions appears in its context"):
        read(CARDS.task(f"{name}_translated"), tmp_path, "ru", "train")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("xquad", "XQuAD/translate-test/xquad.translate.test.ar-en.json"),
        ("mlqa", "MLQA/translate-test/mlqa.translate.test.ar-en.json"),
        ("tydiqa", "TyDiQA-GoldP/translate-test/tydiqa.translate.test.ar-en.json"),
    ],
)
def test_questions_translated_into_english_have_no_answers_of_their_own(name: str, place: str, tmp_path: Path) -> None:
    write(tmp_path, place, questions(("a", "The Tay flows to Perth.", "lost", 3)))
    assert read(CARDS.task(f"{name}_to_english"), tmp_path, "ar", "test").rows == (
        Span("a", "ar", "The Tay flows to Perth.", "?", None),
    )


@pytest.mark.parametrize(
    ("context", "answer", "found"),
    [
        ("to Perth, Perth", Answer("Perth", 10), Answer("Perth", 10)),
        ("to Perth, Perth", Answer("Perth", 8), Answer("Perth", 10)),
        ("to Perth, Perth", Answer("Perth", -1), Answer("Perth", 3)),
        ("To the PERTH.", Answer("perth", 0), Answer("PERTH", 7)),
        ("To the Perth.", Answer(" Perth ", 6), Answer("Perth", 7)),
        ("To Dundee.", Answer("Perth", 3), None),
        ("İ Perth", Answer("perth", 3), None),  # "İ" has another length in lower case
        ("To Perth.", Answer("", 0), None),
        ("Der Romanautor kam 1918 nach Rom.", Answer("Rom", 0), Answer("Rom", 29)),
        ("Der Romanautor kam 1918.", Answer("Rom", 5), None),
        ("Der Romanautor kam 1918.", Answer("rom", 0), None),
        ("Der Romanautor kam 1918.", Answer("1", 20), None),
        ("Der Romanautor kam 1918.", Answer("1918", 0), Answer("1918", 19)),
        ("Der Romanautor kam.", Answer("Roman", 4), Answer("Roman", 4)),  # where the file places it
        ("नदी में", Answer("नद", 1), None),  # in the context, its last letter has a vowel sign
        ("他1918年在罗马写小说。", Answer("罗马", 0), Answer("罗马", 7)),
        ("ローマに行った。", Answer("ローマ", 3), Answer("ローマ", 0)),
        ("เขาไปกรุงโรมแล้ว", Answer("โรม", 0), Answer("โรม", 9)),
        ("그는 로마에서 살았다.", Answer("로마", 0), Answer("로마", 3)),
    ],
)
def test_an_answer_goes_to_the_nearest_place(context: str, answer: Answer, found: Answer | None) -> None:
    row = realigned(Span("a", "de", context, "?", (answer,)))
    assert (None if row is None else row.gold) == (None if found is None else (found,))
    if found is not None:
        assert found.misplaced(context) is None


def test_questions_without_an_answer_stay() -> None:
    row = Span("a", "de", "Perth.", "?", ())
    assert realigned(row) == row


def test_any_file_with_ids_and_languages_can_hold_translations(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nkind = "pair"\npath = "mine/{split}.csv"\nlanguages = ["en", "de", "sw"]\n[columns]\n'
        'id = "pair"\nlanguage = "lang"\nfirst = "a"\nsecond = "b"\nlabel = "y"\n[labels]\norder = ["no", "yes"]\n'
    )
    (tmp_path / "mine").mkdir()
    lines = ["pair,lang,a,b,y", "7,en,One,Two,no", "9,en,Three,Four,yes", "9,de,Drei,Vier,yes", "7,de,Eins,Zwei,no"]
    (tmp_path / "mine" / "train.csv").write_text("\n".join(lines) + "\n")
    card = card_of_file(tmp_path / "mine.toml")
    english, german = (read(card, tmp_path, code, "train").rows for code in ("en", "de"))
    found = match(english, german, "de", 0.0, "mine train")
    assert [row.texts[0] for row in found.translations] == ["Eins", "Drei"] and found.coverage.missing == 0
    with pytest.raises(DataError, match="no row is in"):
        read(card, tmp_path, "sw", "train")


def test_a_mapping_of_translations_that_is_a_row_off_belongs_to_no_row(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nkind = "pair"\npath = "mine/{split}.csv"\nlanguages = ["de"]\n[columns]\nid = "id"\n'
        'first = "a"\nsecond = "b"\nlabel = "y"\nfirst_original = "from"\n[labels]\norder = ["no", "yes"]\n'
    )
    (tmp_path / "mine").mkdir()
    english = [Pair(str(at), "en", f"Line {at}.", f"Tea {at}?", "yes" if at % 2 else "no") for at in range(8)]
    card = card_of_file(tmp_path / "mine.toml")

    def found(shift: int, label: int) -> tuple[int, int]:
        lines = [f"{at},Satz {at},Tee {at},{english[at - label].label},line {at + shift}\n" for at in range(8)]
        (tmp_path / "mine" / "train.csv").write_text("id,a,b,y,from\n" + "".join(lines))
        coverage = match(english, read(card, tmp_path, "de", "train").rows, "de", 1.0, "mine train").coverage
        return coverage.missing, coverage.unknown

    assert found(0, 0) == (0, 0)
    assert found(2, 2) == found(0, 1) == (8, 8)  # other originals, other labels


def test_a_mapping_realigns_answers_and_leaves_lost_ones_out_where_it_says_so(tmp_path: Path) -> None:
    said = (
        'name = "mine"\nkind = "span"\npath = "mine/{split}.csv"\nlanguages = ["de"]\n[columns]\nid = "id"\n'
        'context = "c"\nquestion = "q"\nanswer = "a"\nstart = "s"\n'
    )
    (tmp_path / "mine").mkdir()
    lines = ["a,Nach Perth.,Wo?,Perth,0", "b,Nach Dundee.,Wo?,Perth,0", "c,Nach Perth.,Wo?,Perth,5"]
    (tmp_path / "mine" / "train.csv").write_text("\n".join(["id,c,q,a,s", *lines, ""]))
    (tmp_path / "mine.toml").write_text(said)
    strict = card_of_file(tmp_path / "mine.toml")
    with pytest.raises(DataError, match="is not at character 0 of its context, but at 5"):
        read(strict, tmp_path, "de", "train")
    (tmp_path / "mine.toml").write_text(f"realign = true\n{said}")
    card = card_of_file(tmp_path / "mine.toml")
    rows = read(card, tmp_path, "de", "train").rows
    assert [(row.id, row.gold) for row in rows] == [(id, (Answer("Perth", 5),)) for id in "ac"]
    assert card.version != strict.version
    english = [Span(id, "en", "To Perth.", "Where?", (Answer("Perth", 3),)) for id in "abc"]
    assert match(english, rows, "de", 0.5, "mine train").coverage.missing == 1
    (tmp_path / "mine.toml").write_text(f"realign = true\n{said}".replace('start = "s"\n', ""))
    assert [row.id for row in read(card_of_file(tmp_path / "mine.toml"), tmp_path, "de", "train").rows] == ["a", "c"]


def test_a_question_with_an_answer_is_no_translation_of_one_without() -> None:
    rows = [Span("a", "en", "To Perth.", "?", (Answer("Perth", 3),)), Span("b", "en", "To Perth.", "?", ())]
    swapped = [Span(id, "de", row.context, "?", row.answers) for id, row in zip("ba", rows, strict=True)]
    assert match(rows, swapped, "de", 1.0, "quiz train").coverage.missing == 2


@pytest.mark.parametrize("card", TRANSLATIONS, ids=lambda card: card.name)
def test_cards_say_how_many_rows_there_are_and_look_below_one_folder(card: Any, tmp_path: Path) -> None:
    split = card.sources[0].splits
    (split,) = split
    assert all((code, split) in card.expected for code in card.languages)
    with pytest.raises(DataError, match=r"xtreme_translations/"):
        locate(card, tmp_path, card.languages[0], split)


def test_the_freely_available_part_of_xnli_mt_is_row_by_row_the_same(shared_data: Path) -> None:
    english = read(CARDS.task("mnli"), shared_data, "en", "train").rows
    for code in ("ar", "de", "es", "fr", "sw", "tr", "ur", "vi", "zh"):
        rows = read(CARDS.task("mnli"), shared_data, code, "train").rows
        found = match(english, rows, code, 0.0, "mnli train")
        assert found.coverage.unknown == 0
        assert [row.gold for row in found.translations] == [row.gold for row in english]
