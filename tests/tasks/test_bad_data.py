"""Bad files of any card: read correctly, or refused in one message that names the place."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from viaduct.errors import DataError, UsageError, unknown
from viaduct.rows import Row
from viaduct.tasks.card import Task, read
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder
from viaduct.tasks.formats import tab_separated
from viaduct.tasks.json_text import json_value
from viaduct.vision.archives import tar_members

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
CARDS = Catalogue.builtin()


def put(folder: Path, path: str, content: str | bytes) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def rows(card: Task | str, folder: Path, language: str = "en", split: str = "dev") -> tuple[Row, ...]:
    return read(CARDS.task(card) if isinstance(card, str) else card, folder, language, split).rows


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("xnli_hub_string", ("A.", "B.", "neutral")),
        ("panx_hub_reordered", (("Ada", "lives", "in", "Ulm"), ("B-PER", "O", "O", "B-ORG"))),
        ("pawsx_nonnumeric_quotes", ("Ada met Bo.", "Bo met Ada.", "1")),
        ("panx_prefix_in_xtreme", (("Ada", "went"), ("B-PER", "O"))),
        ("panx_lfs", "the file is a Git LFS pointer, not the data\n  how to fix: run `git lfs pull`"),
        ("panx_spaces", "line 1: there is no tab between token and tag"),
    ],
)
def test_shared_cases(case: str, expected: tuple[object, ...] | str) -> None:
    if not CASES.is_dir():
        pytest.skip(f"the cases are not at {CASES}")
    card = case.partition("_")[0]
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            rows(card, CASES / case)
    else:
        row = rows(card, CASES / case)[0]
        assert tuple(getattr(row, name) for name in row.__slots__) == expected


QUOTED = [("Ada met Bo.", 'She said "no".', "1"), ('He, "Bo"', "went", "0"), ('"Tea', "is\tcold", "1"), ("a", "b", "0")]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_any_one_mark_missing_is_named_or_changes_its_own_row_only(tmp_path: Path, quoting: int) -> None:
    written = io.StringIO(newline="")
    rows = [(first, second, int(label)) for first, second, label in QUOTED * 5]
    csv.writer(written, delimiter="\t", lineterminator="\n", quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    text = written.getvalue()
    path = put(tmp_path, "q.tsv", text)
    assert [record.fields for record in tab_separated(path, widths=(3,), quoting="detect")] == QUOTED * 5
    for place in (place for place, letter in enumerate(text) if letter == '"'):
        put(tmp_path, "q.tsv", text[:place] + text[place + 1 :])
        line = text.count("\n", 0, place) + 1
        with pytest.raises(DataError, match=f"line {line}: "):
            tab_separated(path, widths=(3,), quoting="detect")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Ada\tB-PER\nwe\0nt\tO\n", "line 2: the line holds NUL"),
        ("Ada\tB-PER\n\ufeffwent\tO\n", "line 2: the line begins with a byte order mark, as if files had been joined"),
        *(
            (page, "the file is a web page .* not the data")
            for page in (
                "\n<!doctype HTML>\n<html>\n",
                "<html><body>403</body></html>\n",
                '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>\n',
                "<!-- saved from url=(0014)about:internet -->\n<html>\n",
                "<head><title>403 Forbidden</title></head>\n",
            )
        ),
    ],
)
def test_what_is_no_text_is_no_rows(tmp_path: Path, content: str, message: str) -> None:
    put(tmp_path, "panx/dev-en.tsv", content)
    with pytest.raises(DataError, match=message):
        rows("panx", tmp_path)


def test_zero_width_marks_stay_where_official_files_have_them(tmp_path: Path) -> None:
    put(tmp_path, "panx/dev-en.tsv", "\ufeff\tO\na\ufeff\tO\n\n\ufeff\tO\n")
    assert [getattr(row, "tokens") for row in rows("panx", tmp_path)] == [("", "a\ufeff"), ("\ufeff",)]  # noqa: B009


def squad(context: str, *, answers: object, key: str = '"x": 1') -> str:
    question = {"id": "1", "question": "What?", "answers": answers}
    paragraph = {"context": context, "qas": [question]}
    return json.dumps({"data": [{"paragraphs": [paragraph]}]}).replace('"What?"', f'"What?", {key}')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (squad("Tea \ud83d is cold", answers=[{"text": "cold", "answer_start": 9}]), "half a character"),
        (squad("Tea \0 is cold", answers=[{"text": "cold", "answer_start": 9}]), "row 1: it holds NUL"),
        (squad("Tea is cold", answers=[]), "question 1 has no answer"),
        (squad("Tea is cold", answers=None), "'answers' is NoneType"),
        (squad("Tea is cold", answers=[], key='"id": "2"'), "the key 'id' occurs twice in the object"),
        (squad("Tea is cold", answers=[], key='"x": NaN'), "NaN is not a finite number"),
        ("[" * 50_000, "not JSON that can be read"),
    ],
)
def test_json_that_says_something_else_than_text(tmp_path: Path, content: str, message: str) -> None:
    put(tmp_path, "squad/dev-v1.1.json", content)
    with pytest.raises(DataError, match=message) as raised:
        rows("squad", tmp_path)
    assert "dev-v1.1.json" in str(raised.value)


def test_null_for_a_text_names_the_line(tmp_path: Path) -> None:
    good = {"idx": 1, "premise": "a", "question": "cause", "choice1": "b", "choice2": "c", "label": 0}
    content = "".join(json.dumps(one) + "\n" for one in (good, {**good, "idx": 2, "premise": None}))
    put(tmp_path, "xcopa/data/et/val.et.jsonl", content)
    with pytest.raises(DataError, match="line 2: 'premise' is null"):
        rows("xcopa", tmp_path, "et")


def test_a_file_with_labels_on_some_rows_only_is_refused(tmp_path: Path) -> None:
    table = pyarrow.table({"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": [0, -1]})
    path = tmp_path / "hub/facebook/xnli/en/validation-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(DataError, match=r"row 1 has no label \(1 of 2 rows have none\)"):
        rows("xnli", tmp_path)


def test_the_schemas_own_names_decide_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "hub/facebook/xnli/en/validation-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    table = pyarrow.table({"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": [0, 2]})
    for names, expected in (
        (["neutral", "entailment", "contradiction"], ["neutral", "contradiction"]),
        (["LABEL_0", "LABEL_1", "LABEL_2"], "unknown label in 'label' 'LABEL_0'"),
    ):
        about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}), path)
        if isinstance(expected, str):
            with pytest.raises(DataError, match=expected):
                rows("xnli", tmp_path)
        else:
            assert [row.gold for row in rows("xnli", tmp_path)] == expected


def test_joined_tar_files_are_refused_and_padded_ones_read(tmp_path: Path) -> None:
    parts = []
    for name in ("a.jpg", "b.jpg"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(name))
        parts.append(file.getvalue())
    assert list(tar_members(put(tmp_path, "one.tar", parts[0] + bytes(99_000)))) == ["a.jpg"]
    with pytest.raises(DataError, match=r"(?s)more data follow the archive's end at byte 512.*tar --concatenate"):
        tar_members(put(tmp_path, "two.tar", b"".join(parts)))
    with pytest.raises(DataError, match="a Git LFS pointer"):
        tar_members(put(tmp_path, "lfs.tar", "version https://git-lfs.github.com/spec/v1\n"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "panx").mkdir()
    os.mkfifo(tmp_path / "panx" / "dev-en.tsv")
    (tmp_path / "panx" / "dev-de.tsv").symlink_to("/dev/zero")
    folder = DataFolder(tmp_path, CARDS)
    for code in ("en", "de"):
        with pytest.raises(DataError, match="is a pipe, a device or a socket, not a file"):
            folder.read("panx", "dev", code)
        with pytest.raises(DataError, match="is a pipe, a device or a socket, not a file"):
            folder.digest("panx", "dev", code)


def test_a_label_that_is_a_file_is_shown_by_its_beginning() -> None:
    error = unknown("label", "neutral" + " or entailment" * 30_000, ("entailment", "neutral"))
    assert isinstance(error, UsageError) and len(str(error)) < 300 and "'neutral or entailment or" in str(error)
    assert len(str(DataError("x " * 300_000))) < 21_000


def test_a_name_where_nothing_can_be_named_is_to_be_left_out() -> None:
    assert "how to fix: leave it out" in str(unknown("arm", "mlm", ()))


def test_numbers_and_keys_of_json_are_what_they_say() -> None:
    assert json_value('{"a": [1, "\\ud83d\\ude00"]}') == {"a": [1, "😀"]}
    with pytest.raises(DataError, match="not JSON that can be read"):
        json_value("9" * 5_000)
    with pytest.raises(DataError, match="Unterminated string at character 7"):
        json_value('{"a": "')


def test_a_terminal_without_the_characters_shows_their_numbers(tmp_path: Path) -> None:
    put(tmp_path, "panx/dev-en.tsv", "紅茶\tO\n")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "viaduct", "check", "panx", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert done.returncode == 0 and rb"\u7d05\u8336" in done.stdout, done.stderr
