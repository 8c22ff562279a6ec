"""A mapping file becomes a card: every kind and format, and the message for each possible mistake in its data."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_files import PAIR, ROW, card, lines

from viaduct.errors import DataError, NoRowsError
from viaduct.rows import Answer, Choice, Pair, Sentence, Span, Tagged
from viaduct.runs.check import survey
from viaduct.tables import survey as shown
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder
from viaduct.tasks.mapping import load_mapping


def rows_of(folder: Path, *rows: object, **changes: Any) -> list[Any]:
    """The rows that the changed mapping reads from these JSON lines."""
    return list(read(card(folder, **changes), lines(folder, *rows), "en", "train").rows)


DEV_ALONE = {"train": "", "dev": "dev", "test": ""}
CHOICE = {"kind": "choice", "columns": {"context": "c", "choices": ["a0", "a1"], "label": "gold"}, "labels": None}
TAGGED = {"kind": "tagged", "columns": {"tokens": "words", "tags": "tags"}, "labels": {"order": ["A", "B"]}}
SPAN = {
    "kind": "span",
    "columns": {"context": "c", "question": "q", "answer": "answers.text", "start": "answers.start"},
    "labels": None,
}
WET = {"c": "It rains, it rains.", "q": "What?"}

KINDS = [
    ({}, ROW, Pair("0", "en", "It rains.", "It is wet.", "yes")),
    (CHOICE, {"c": "It", "a0": "x", "a1": "y", "gold": 1}, Choice("0", "en", "It", "", ("x", "y"), 1)),
    (
        {**CHOICE, "columns": {"context": "s.c", "question": "q", "choices": "s.ends.text", "label": "gold"},
         "labels": {"order": ["A", "B"]}},
        {"s": {"c": "It", "ends": [{"text": "x"}, {"text": "y"}]}, "q": "Why?", "gold": "B"},
        Choice("0", "en", "It", "Why?", ("x", "y"), 1),
    ),
    (TAGGED, {"words": ["It", "New York"], "tags": ["A", "B"]}, Tagged("0", "en", ("It", "New York"), ("A", "B"))),
    (TAGGED, {"words": "It  rains", "tags": "A B"}, Tagged("0", "en", ("It", "rains"), ("A", "B"))),
    (
        {**TAGGED, "labels": {"order": ["A", "B"], "rename": {"0": "A", "1": "B"}}},
        {"words": ["It"], "tags": [1]},
        Tagged("0", "en", ("It",), ("B",)),
    ),
    (
        SPAN,
        {**WET, "answers": {"text": ["rains", "it"], "start": [13, 10]}},
        Span("0", "en", WET["c"], "What?", (Answer("rains", 13), Answer("it", 10))),
    ),
    (
        {**SPAN, "columns": {"context": "c", "question": "q", "answer": "a"}},
        {**WET, "a": "it"},
        Span("0", "en", WET["c"], "What?", (Answer("it", 10),)),
    ),
    (
        {**SPAN, "columns": {"context": "c", "question": "q", "answer": "a"}, "first_occurrence": True},
        {**WET, "a": "rains"},
        Span("0", "en", WET["c"], "What?", (Answer("rains", 3),)),
    ),
    (
        {**SPAN, "no_answer": True},
        {**WET, "answers": {"text": [], "start": []}},
        Span("0", "en", WET["c"], "What?", ()),
    ),
    ({"kind": "text", "columns": {"text": "t"}, "labels": None}, {"t": "It"}, Sentence("0", "en", "It", match=())),
    (
        {"kind": "parallel", "columns": {"first": "a", "second": "b"}, "labels": None},
        {"a": "It", "b": "Es"},
        Pair("0", "en", "It", "Es", None),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "record", "row"), KINDS)
def test_every_kind_of_row(tmp_path: Path, changes: dict[str, Any], record: dict[str, Any], row: object) -> None:
    assert rows_of(tmp_path, record, **changes) == [row]


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    toml = tmp_path / "mine.toml"
    toml.write_text(
        'name = "my_nli"\nkind = "pair"\npath = "files/{split}.jsonl"\nlanguages = "en"\n'
        '[columns]\nfirst = "premise"\nsecond = "hypothesis"\nlabel = "gold"\n[labels]\norder = ["no", "yes"]\n',
        encoding="utf-8",
    )
    one, other = load_mapping(toml), card(tmp_path)
    assert one.version == other.version and one.labels == other.labels == ("no", "yes")
    assert (one.trained_on, one.metrics, one.title, one.licence) == ("my_nli", ("accuracy",), "my_nli", "not stated")


def test_what_can_change_a_row_changes_the_version_and_nothing_else_does(tmp_path: Path) -> None:
    plain = card(tmp_path).version
    for changes in (
        {"labels": {"order": ["yes", "no"]}},
        {"labels": {"order": ["no", "yes"], "rename": {"0": "no"}}},
        {"columns": {**PAIR["columns"], "first": "text"}},
        {"metric": "paraphrase"},
        {"splits": {"train": "train", "dev": "", "test": ""}},
    ):
        assert card(tmp_path, **changes).version != plain
    for changes in ({"title": "Mine"}, {"licence": "ours"}, {"citation": "us"}, {"expected": {"train": {"en": 3}}}):
        assert card(tmp_path, **changes).version == plain


def test_the_version_of_an_unchanged_mapping_is_the_same_in_every_release(tmp_path: Path) -> None:
    assert card(tmp_path).version == 32932152
    columns = {"context": "c", "choices": ["a0", "a1"], "label": "gold", "language": "l", "id": "i"}
    words = {"languages": ["en", "de"], "language_words": {"de": "german"}}
    other = card(
        tmp_path, kind="choice", path="f/{split}.csv", columns=columns, labels=None, unlabelled=["test"], **words
    )
    assert other.version == 96568974


def as_csv(path: Path, rows: list[dict[str, str]], delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


text = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1, max_size=12).filter(str.strip)
tables = st.lists(
    st.fixed_dictionaries({"premise": text, "hypothesis": text, "gold": st.sampled_from(["no", "yes"])}),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40)
@given(tables)
def test_all_formats_give_the_same_rows(tmp_path_factory: pytest.TempPathFactory, table: list[dict[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("formats")
    lines(folder, *table)
    expected = [(row["premise"], row["hypothesis"], row["gold"]) for row in table]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), folder / "files" / "train.parquet")
    as_csv(folder / "files" / "train.csv", table, ",")
    formats = ["jsonl", "parquet", "csv"]
    if not any(mark in value for row in table for value in row.values() for mark in '\t\n"'):
        as_csv(folder / "files" / "train.tsv", table, "\t")
        formats.append("tsv")
    for name in formats:
        rows = read(card(folder, path=f"files/{{split}}.{name}"), folder, "en", "train").rows
        assert [(row.first, row.second, row.label) for row in rows] == expected, name  # type: ignore[union-attr]


def test_several_files_and_ones_own_ids(tmp_path: Path) -> None:
    for shard in ("a", "b"):
        lines(tmp_path, {**ROW, "key": shard}, name=f"files/train-{shard}.jsonl")
    mine = card(tmp_path, path="files/{split}-*.jsonl", columns={**PAIR["columns"], "id": "key"})
    assert [row.id for row in read(mine, tmp_path, "en", "train").rows] == ["a", "b"]
    mine = card(tmp_path, path="files/{split}-*.jsonl")
    assert [row.id for row in read(mine, tmp_path, "en", "train").rows] == ["0", "1"]


def test_languages_by_file_and_by_column(tmp_path: Path) -> None:
    words = {"languages": ["en", "de"], "language_words": {"de": "german"}}
    lines(tmp_path, ROW, name="files/train.german.jsonl")
    mine = card(tmp_path, path="files/{split}.{language}.jsonl", **words)
    assert read(mine, tmp_path, "de", "train").rows[0].language == "de"
    with pytest.raises(DataError, match=r"looked for files/train.en.jsonl"):
        read(mine, tmp_path, "en", "train")
    columns = {**PAIR["columns"], "language": "lang"}
    mine = card(tmp_path, columns=columns, **words)
    lines(tmp_path, {**ROW, "lang": "en"}, {**ROW, "lang": "german", "gold": "no"}, {**ROW, "lang": "xx"})
    assert [(row.id, row.label) for row in read(mine, tmp_path, "de", "train").rows] == [("1", "no")]
    mine = card(tmp_path, columns=columns, languages=["en", "sw"])
    with pytest.raises(NoRowsError, match="no row is in 'sw'; the languages found are en, german, xx"):
        read(mine, tmp_path, "sw", "train")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("DE", "line 2: the language is 'DE' \\(str\\), but rows of 'de' have 'de'"),
        ("de ", "line 2: the language is 'de ' "),
        ("deu", "line 2: the language is 'deu' "),
        ("German", "line 2: the language is 'German' "),
        (" ", "line 2: the language is ' ' \\(str\\), but must be a word"),
        (None, "line 2: the language is nothing, but must be a word"),
        (True, "but must be a word"),
        (5, "but must be a word"),
        (["de"], "but must be a word"),
    ],
)
@pytest.mark.parametrize("asked", ["en", "de"])
def test_rows_in_another_spelling_of_a_language_do_not_vanish(
    tmp_path: Path, given: object, message: str, asked: str
) -> None:
    mine = card(tmp_path, columns={**PAIR["columns"], "language": "lang"}, languages=["en", "de"])
    lines(tmp_path, {**ROW, "lang": "en"}, {**ROW, "lang": given}, {**ROW, "lang": "de"})
    with pytest.raises(DataError, match=message):
        read(mine, tmp_path, asked, "train")


def test_check_counts_the_rows_in_other_languages_than_those_declared(tmp_path: Path) -> None:
    mine = card(tmp_path, columns={**PAIR["columns"], "language": "lang"}, languages=["en", "de"])
    lines(tmp_path, *({**ROW, "lang": code} for code in ("en", "sw", "de", "xx", "sw")))
    found = survey(mine, DataFolder(tmp_path, Catalogue.builtin().with_files([str(tmp_path / "mine.yaml")])))
    assert [held.rows for held in found.holdings] == [1, 1]
    assert "train: 3 rows in languages not requested: sw 2, xx 1" in shown(found)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize(
    ("order", "is_refused"), [(["1", "12"], True), (["not", "not neutral"], True), (["no", "yes"], False)]
)
def test_a_label_that_another_one_begins_with_needs_its_line_end(
    tmp_path: Path, suffix: str, order: list[str], is_refused: bool
) -> None:
    mark = "," if suffix == "csv" else "\t"
    text = "\n".join(mark.join(row) for row in (("a", "b", "l"), ("x", "y", order[1]), ("x", "y", order[0])))
    (tmp_path / f"train.{suffix}").write_text(text)
    columns = {"first": "a", "second": "b", "label": "l"}
    mine = card(tmp_path, path=f"{{split}}.{suffix}", columns=columns, labels={"order": order})
    if is_refused:
        with pytest.raises(DataError, match="line 3: the last line has no line end"):
            read(mine, tmp_path, "en", "train")
        (tmp_path / f"train.{suffix}").write_text(text + "\n")
    assert [row.gold for row in read(mine, tmp_path, "en", "train").rows] == order[::-1]


def test_the_hub(tmp_path: Path) -> None:
    mine = card(tmp_path, path="data/{split}-*.parquet", hub="owner/name", revision="0" * 40)
    folder = tmp_path / "hub/owner/name/data"
    folder.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW]), folder / "train-00000-of-00001.parquet")
    found = read(mine, tmp_path, "en", "train")
    assert (found.layout, found.rows[0].label) == ("hub", "yes")  # type: ignore[union-attr]
    assert mine.sources[0].hub.revision == "0" * 40


def test_stripped_test_files_are_named_and_counts_are_compared(tmp_path: Path) -> None:
    bare = {name: value for name, value in ROW.items() if name != "gold"}
    lines(tmp_path, bare, name="files/test.jsonl")
    mine = card(tmp_path, unlabelled=["test"], expected={"test": {"en": 2}})
    found = read(mine, tmp_path, "en", "test")
    assert not found.labelled and (len(found.rows), found.expected) == (1, 2)
    with pytest.raises(DataError, match=r"test.jsonl, line 1: unknown column 'gold'"):
        read(card(tmp_path), tmp_path, "en", "test")


WRONG_ROWS = [
    ({}, {**ROW, "gold": "yess"}, r"line 2: column 'gold': unknown label 'yess'. Did you mean 'yes'"),
    ({}, {**ROW, "gold": 1}, r"line 2: column 'gold': '1' \(int\) here, but text in line 1"),
    ({}, {**ROW, "gold": None}, "line 2: column 'gold': there is no label"),
    ({}, {**ROW, "gold": ["yes"]}, "line 2: column 'gold': .* where a label"),
    ({}, {**ROW, "premise": 5}, r"line 2: column 'premise': '5' \(int\) where text is expected"),
    ({}, {**ROW, "premise": " "}, "line 2: column 'premise': the text is blank"),
    ({}, {**ROW, "premise": None}, "line 2: column 'premise': nothing where text is expected"),
    ({}, {"premises": "a", "hypothesis": "b", "gold": "no"}, r"line 2: unknown column 'premise'. Did you mean 'pre"),
    ({}, ["no object"], "line 2: not a JSON object"),
    (
        {"columns": {**PAIR["columns"], "first": "premise.text"}},
        ROW,
        r"line 1: there is no 'text' in 'It rains.' \(str\), which has no fields",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "record", "message"), WRONG_ROWS)
def test_a_wrong_pair_is_named_with_line_and_column(
    tmp_path: Path, changes: dict[str, Any], record: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        rows_of(tmp_path, ROW, record, **changes)


ONE = {**SPAN, "columns": {"context": "c", "question": "q", "answer": "a", "start": "s"}}
BARE = {**SPAN, "columns": {"context": "c", "question": "q", "answer": "a"}}
WRONG_KINDS = [
    (CHOICE, {"c": "It", "a0": "x", "a1": "y", "gold": 2}, "there is no choice '2' among 2"),
    (CHOICE, {"c": "It", "a0": "x", "a1": "y", "gold": "B"}, "'B' .* where a whole number is expected"),
    (CHOICE, {"c": "It", "a0": "x", "a1": "", "gold": 0}, "column 'a0' and 'a1': the text is blank"),
    (TAGGED, {"words": ["It"], "tags": ["A", "B"]}, "column 'tags': 2 tags for 1 tokens"),
    (TAGGED, {"words": ["It"], "tags": ["C"]}, "column 'tags': unknown label 'C'"),
    (TAGGED, {"words": [], "tags": []}, "column 'words': .* where a list of texts is expected"),
    (ONE, {**WET, "a": "rains", "s": 4}, "the answer 'rains' is not at character 4 of its context, but at 3"),
    (ONE, {**WET, "a": "snows", "s": 4}, "it does not occur there"),
    (ONE, {**WET, "a": ["it", "It"], "s": [10]}, "column 's': 1 places for 2 answers"),
    (ONE, {**WET, "a": "", "s": 0}, "there is no answer"),
    (BARE, {**WET, "a": "rains"}, "the answer 'rains' occurs more than once in its context"),
    (BARE, {**WET, "a": "snows"}, "the answer 'snows' does not occur in its context"),
]


@pytest.mark.parametrize(("changes", "record", "message"), WRONG_KINDS)
def test_other_wrong_rows_are_named_too(
    tmp_path: Path, changes: dict[str, Any], record: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=f"train.jsonl, line 1: .*{message}"):
        rows_of(tmp_path, record, **changes)


def test_rows_of_parquet_files_have_numbers_instead_of_lines(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    table = pyarrow.Table.from_pylist([ROW, {**ROW, "gold": None}])
    pyarrow.parquet.write_table(table, tmp_path / "files" / "train.parquet")
    with pytest.raises(DataError, match=r"train.parquet: row 1: column 'gold': there is no label"):
        read(card(tmp_path, path="files/{split}.parquet"), tmp_path, "en", "train")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_without_rows_is_damaged_and_not_missing(tmp_path: Path, suffix: str) -> None:
    mine = card(tmp_path, path=f"files/{{split}}.{suffix}")
    path = lines(tmp_path) / "files" / f"train.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW]).slice(0, 0), path)
    else:
        path.write_text(("," if suffix == "csv" else "\t").join(ROW) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"train\.{suffix}: the file has no rows") as caught:
        read(mine, tmp_path, "en", "train")
    assert not isinstance(caught.value, NoRowsError)  # which stands for a language that a shared file lacks


def test_a_text_of_any_length_is_read_from_csv(tmp_path: Path) -> None:
    mine = card(tmp_path, path="files/{split}.csv")
    path = lines(tmp_path) / "files" / "train.csv"
    as_csv(path, [{**ROW, "premise": "long, " * 50_000 + "text"}], ",")
    (row,) = read(mine, tmp_path, "en", "train").rows
    assert len(row.texts[0]) == 300_004


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables_name_wrong_headers_and_torn_lines(tmp_path: Path, suffix: str, delimiter: str) -> None:
    mine = card(tmp_path, path=f"files/{{split}}.{suffix}")
    path = lines(tmp_path) / "files" / f"train.{suffix}"
    path.write_text(delimiter.join(["premise", "hypotheses", "gold"]) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: unknown column 'hypothesis'. Did you mean 'hypotheses'"):
        read(mine, tmp_path, "en", "train")
    torn = [["premise", "hypothesis", "gold"], ["a", "b", "yes"], ["a", "b"]]
    path.write_text("".join(delimiter.join(row) + "\n" for row in torn), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 3: 2 .*separated fields"):
        read(mine, tmp_path, "en", "train")


def test_real_files_of_several_shapes(shared_data: Path, tmp_path: Path) -> None:
    """Mappings read four published files exactly as these files' own cards do."""
    letters = {"order": ["A", "B", "C", "D", "E"]}
    nested = {"context": "question.stem", "choices": "question.choices.text", "label": "answerKey", "id": "id"}
    choices = [f"answer{number}" for number in range(4)]
    inference = {"first": "context", "second": "hypothesis", "label": "label", "id": "uid"}
    names = {"e": "entailment", "n": "neutral", "c": "contradiction"}
    for kind, path, columns, labels, same in (
        ("choice", "commonsenseqa/{split}_rand_split.jsonl", nested, letters, "commonsenseqa"),
        ("choice", "cosmosqa/valid.csv", {"context": "context", "question": "question", "choices": choices,
                                           "label": "label", "id": "id"}, None, "cosmosqa"),
        ("pair", "anli/anli_v1.0/R1/{split}.jsonl", inference,
         {"order": sorted(names.values()), "rename": names}, None),
    ):  # fmt: skip
        mine = card(tmp_path, kind=kind, path=path, columns=columns, labels=labels, splits=DEV_ALONE)
        found = read(mine, shared_data, "en", "dev").rows
        if same is None:
            assert len(found) == 1_000
        else:
            assert found == read(Catalogue.builtin().task(same), shared_data, "en", "dev").rows


@pytest.mark.parametrize(
    "content",
    [b"", b'{"premise": "It', b"\xff\xfe", b"<!doctype html>\n", b'["a"]\n', b"a\0b\n", b'{"premise": "a"}\n\n'],
)
def test_a_damaged_file_of_ones_own_is_not_to_be_downloaded(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "files" / "train.jsonl"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read(card(tmp_path), tmp_path, "en", "train")
    assert str(path) in str(error.value) and "download" not in str(error.value)
