"""Readers shared by the cards: what users get for good and for damaged files."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viaduct.errors import DataError
from viaduct.tasks.formats import (
    TableRow,
    aligned_lines,
    columns,
    csv_columns,
    parquet,
    tab_separated,
    text_lines,
)
from viaduct.tasks.pairs import hub_pairs, xtreme_pairs
from viaduct.tasks.quoting import csv_quoting

YES_NO = {"yes": "yes", "no": "no"}


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        ("ein\nzwei\u00e9\n".encode("latin-1"), "line 2: the file is not UTF-8: byte 5 of the line is 0xe9"),
        ("eins\n".encode("utf-16"), "line 1: the file is UTF-16"),
        (b"\x1f\x8b" + gzip.compress(b"eins\nzwei\n" * 99, mtime=0)[2:-12], "the archive is damaged"),
        (b"\x1f\x8bnot gzip at all", "the archive is damaged"),
        (bz2.compress(b"eins\n") + bz2.compress(b"zwei\n")[:-3], "the archive is damaged"),
        (bz2.compress(b"eins\n") + b"CZ" + bz2.compress(b"zwei\n")[2:], "the archive is damaged"),
        (bz2.compress(b"eins\n") + b"\0", "the archive is damaged"),
        (b"eins\n\nzwei\n", "line 2: the line is blank"),
        (b"eins\nzw", "line 2: the last line has no line end"),
    ],
)
def test_a_damaged_text_file_is_one_message_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        text_lines(write(tmp_path / "a.txt", content))


def test_compressed_files_in_several_parts_are_read_whole(tmp_path: Path) -> None:
    lines = [f"{number} {'tea' * 40}" for number in range(20_000)]
    halves = ["".join(f"{line}\n" for line in part).encode() for part in (lines[:7], lines[7:])]
    for pack in (bz2.compress, gzip.compress):
        assert text_lines(write(tmp_path / "a.txt", b"".join(map(pack, halves)))) == lines


def test_a_missing_file_and_a_folder_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        text_lines(tmp_path / "nothing.txt")
    with pytest.raises(DataError, match="cannot be read"):
        text_lines(tmp_path)


def test_byte_order_mark_crlf_and_gzip_make_no_difference(tmp_path: Path) -> None:
    plain = ["maua", "mawe\u2028mawili \x1c\x85 \ufeff mwisho"]
    content = "".join(f"{line}\n" for line in plain).encode()
    for name, data in (
        ("lf", content),
        ("crlf", content.replace(b"\n", b"\r\n")),
        ("bom", b"\xef\xbb\xbf" + content),
        ("gz", gzip.compress(content)),
    ):
        assert text_lines(write(tmp_path / name, data)) == plain, name


def test_aligned_files_must_have_the_same_number_of_lines(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", "uno\ndos\n"), write(tmp_path / "b", "one\ntwo\n")
    assert aligned_lines(first, second) == [("uno", "one"), ("dos", "two")]
    with pytest.raises(DataError, match="b: 1 lines, but a has 2"):
        aligned_lines(first, write(second, "one\n"))


def test_a_quoted_table_is_unquoted(tmp_path: Path) -> None:
    path = write(tmp_path / "q.tsv", '"""Si,"" dijo."\tuno\tyes\r\nsin comillas\t"dos\ty ""tres"""\tno\r\n')
    assert [record.fields for record in tab_separated(path, widths=(3,), quoting="detect")] == [
        ('"Si," dijo.', "uno", "yes"),
        ("sin comillas", 'dos\ty "tres"', "no"),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ['"Habari', "njema", "yes"],
        ['"Habari" njema', 'sio "mbaya"', "no"],
        ['"Habari njema"', "sawa", "yes"],
        ['5" na 6"', "sawa", "yes"],
    ],
)
def test_quotation_marks_of_an_unquoted_table_stay(tmp_path: Path, lines: list[str]) -> None:
    rows = [lines, ["bila", "alama", "no"], ['mwisho"', "wake", "yes"]]
    path = write(tmp_path / "u.tsv", "".join("\t".join(row) + "\n" for row in rows))
    assert [list(record.fields) for record in tab_separated(path, widths=(3,), quoting="detect")] == rows


@pytest.mark.parametrize("content", ['"a\tb\tyes\nc"\td\tno\n', '"a\tb"\tyes\nc\td\tno\n', '"\t"\tyes\nc\td\tno\n'])
def test_marks_that_pair_up_across_fields_or_lines_join_nothing(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "u.tsv", content)
    assert [
        "\t".join(fields) for _, fields in tab_separated(path, widths=(3,), quoting="detect")
    ] == content.splitlines()


def test_a_quoted_field_may_hold_a_line_end_and_the_next_line_number_is_right(tmp_path: Path) -> None:
    path = write(tmp_path / "q.tsv", '"a\nb"\tc\tyes\nd\te\tno\nf\tg\n')
    with pytest.raises(DataError, match="line 4: 2 tab-separated fields where 3 are expected"):
        tab_separated(path, widths=(3,), quoting="detect")
    path.write_text('"a\nb"\tc\tyes\nd\te\tno\n')
    assert tab_separated(path, widths=(3,), quoting="detect") == [
        TableRow(1, ("a\nb", "c", "yes")),
        TableRow(3, ("d", "e", "no")),
    ]


def test_a_quoted_table_cut_off_inside_a_quoted_field_names_the_line(tmp_path: Path) -> None:
    path = write(tmp_path / "q.tsv", '"a ""b"""\tc\r\nd\t"e ""f')
    with pytest.raises(DataError, match="line 2: the quoting of this line is broken"):
        list(xtreme_pairs(YES_NO)({"rows": (path,)}, "de", "test"))


texts = st.text(st.characters(exclude_characters="\t\r\n\0\ufeff", codec="utf-8"), min_size=1).filter(str.strip)
rows_of_text = st.lists(st.tuples(texts, texts, st.sampled_from(["yes", "no"])), min_size=1, max_size=6)


@given(rows_of_text, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_what_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], end: str, quoting: int
) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, delimiter="\t", lineterminator=end, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    path = write(tmp_path_factory.mktemp("csv") / "t.tsv", written.getvalue())
    assert [record.fields for record in tab_separated(path, widths=(3,), quoting="detect")] == rows


plain_texts = texts.filter(lambda text: not text.startswith('"'))


@given(st.lists(st.tuples(plain_texts, plain_texts, st.sampled_from(["yes", "no"])), min_size=1, max_size=6))
def test_an_unquoted_table_is_read_back_when_no_field_begins_with_a_quotation_mark(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = write(tmp_path_factory.mktemp("tsv") / "t.tsv", "".join("\t".join(row) + "\n" for row in rows))
    assert [record.fields for record in tab_separated(path, widths=(3,), quoting="detect")] == rows


@given(rows_of_text)
def test_an_unquoted_reader_never_looks_for_quoting(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    rows = [("x", "y", "no"), *rows]
    path = write(tmp_path_factory.mktemp("tsv") / "t.tsv", "".join("\t".join(row) + "\n" for row in rows))
    assert [record.fields for record in tab_separated(path, widths=(3,))] == rows


def test_text_without_quotation_marks_is_not_quoted() -> None:
    assert not csv_quoting("a\tb\n").is_quoted
    assert csv_quoting('"a"\t"b"\n') == (True, None)
    assert not csv_quoting('"a"\tb\n').is_quoted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\tyes\nc\td\n", "line 2: 2 tab-separated fields where 3 are expected"),
        ("a\tb\tyes\tno\n", "line 1: 4 tab-separated fields where 2 or 3 are expected"),
        ("a\tb\tyes\nc\td\tno\tno\n", "line 2: 4 tab-separated fields where 3 are expected"),
        ("a\tb\tyes\n\nc\td\tno\n", "line 2: the line is blank"),
        ("just text\n", "line 1: 1 field where 2 or 3 are expected"),
        ("a\tb\tyess\n", "line 1: unknown label 'yess'. Did you mean 'yes'"),
        ("a\tb\tyes\nc\td\tn", "line 2: unknown label 'n'"),
        ("a\tb\nc\td cut he", "line 2: the last line has no line end"),
    ],
)
def test_a_damaged_pair_table_names_the_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(xtreme_pairs(YES_NO)({"rows": (write(tmp_path / "t.tsv", content),)}, "de", "test"))


def test_a_labelled_table_needs_no_last_line_end(tmp_path: Path) -> None:
    rows = list(xtreme_pairs(YES_NO)({"rows": (write(tmp_path / "t.tsv", "a\tb\tyes\nc\td\tno"),)}, "de", "test"))
    assert [(row.id, row.second, row.label) for row in rows] == [("0", "b", "yes"), ("1", "d", "no")]


def test_columns_are_found_by_name_and_a_missing_one_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", "label\tpremise\thypo\r\nyes\tuno\tdos\r\n")
    assert list(columns(path, ("hypo", "label"))) == [TableRow(2, ("dos", "yes"))]
    with pytest.raises(DataError, match=r"line 1: unknown column 'hypothesis'. Did you mean 'hypo'"):
        list(columns(path, ("hypothesis",)))
    with pytest.raises(DataError, match="line 3: 2 tab-separated fields, but the header has 3"):
        list(columns(write(path, "label\tpremise\thypo\nyes\tuno\tdos\nno\tuno\n"), ("label",)))


def test_semicolons_between_fields_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"line 1: the header is one field, 'a;b', as if semicolons separated the fields"
    ):
        list(csv_columns(write(tmp_path / "t.csv", "a;b\nx;y\n"), ("a", "b")))


def test_a_column_that_is_there_twice_is_refused_where_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", "a\tb\tl\tb\nx\ty\tno\tOTHER\n")
    assert list(columns(path, ("a", "l"))) == [TableRow(2, ("x", "no"))]
    with pytest.raises(DataError, match="line 1: 2 columns are called 'b'"):
        list(columns(path, ("a", "b")))
    with pytest.raises(DataError, match="line 1: 2 columns are called 'b'"):
        list(csv_columns(write(tmp_path / "t.csv", "a,b,b\nx,y,z\n"), ("a", "b")))
    table = pyarrow.table([["x"], ["y"]], names=["b", "b"])
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="2 columns are called 'b'"):
        list(parquet([tmp_path / "t.parquet"], ["b"]))


def test_a_last_line_needs_its_end_where_its_last_field_is_read_and_a_cut_would_not_show(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", "a\tb\nx\tcut he")
    with pytest.raises(DataError, match="line 2: the last line has no line end"):
        list(columns(path, ("a", "b")))
    assert list(columns(path, ("a",))) == [TableRow(2, ("x",))]
    assert list(columns(path, ("a", "b"), closed=("b",))) == [TableRow(2, ("x", "cut he"))]


def shard(path: Path, **values: list[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(values), path)
    return path


def test_hub_label_ids_become_names_over_several_shards(tmp_path: Path) -> None:
    paths = (
        shard(tmp_path / "test-00000-of-00002.parquet", a=["x", "y"], b=["1", "2"], label=[1, 0]),
        shard(tmp_path / "test-00001-of-00002.parquet", a=["z"], b=["3"], label=[-1]),
    )
    rows = list(hub_pairs(("a", "b", "label"), ("no", "yes"))({"rows": paths}, "fr", "test"))
    assert [(row.id, row.first, row.label) for row in rows] == [("0", "x", "yes"), ("1", "y", "no"), ("2", "z", None)]
    with pytest.raises(DataError, match="row 0: 'label' has 1, but there are only 1 labels"):
        list(hub_pairs(("a", "b", "label"), ("no",))({"rows": paths}, "fr", "test"))
    with pytest.raises(DataError, match="1 files, but their names say otherwise"):
        list(hub_pairs(("a", "b", "label"), ("no", "yes"))({"rows": paths[:1]}, "fr", "test"))


def test_damaged_parquet_is_a_data_error(tmp_path: Path) -> None:
    path = shard(tmp_path / "rows.parquet", sentence1=["x", None])
    with pytest.raises(DataError, match=r"unknown column 'sentence'. Did you mean 'sentence1'"):
        list(parquet([path], ["sentence"]))
    with pytest.raises(DataError, match="a row has no 'sentence1'"):
        list(parquet([path], ["sentence1"]))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(parquet([path], ["sentence1"]))
