"""Catalogues: Viaduct's cards and a user's own, side by side in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from viaduct.errors import UsageError
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue

CARD = """
from viaduct.metrics.classification import accuracy
from viaduct.rows import Pair
from viaduct.tasks.card import Source, Task

def read(files, language, split):
    yield Pair("0", language, "{text}", "b", "yes")

CARD = Task(
    name="{name}", version=1, title="{text}", kind="{kind}", languages=("en",), labels=("no", "yes"),
    sources=(Source("official", {{"rows": "mine/{{split}}"}}, read),), metric=accuracy, metrics=("accuracy",),
    trained_on="{name}", licence="", citation="",
)
"""


def card_file(folder: Path, text: str = "one", name: str = "mine", kind: str = "pair") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "card.py"
    path.write_text(CARD.format(text=text, name=name, kind=kind), encoding="utf-8")
    return path


def test_the_core_cards_come_before_those_of_rooms() -> None:
    names = [card.name for card in Catalogue.builtin()]
    assert names[:9] == ["xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba"]
    assert len(names) == len(set(names)) == 52 and names.index("ntrex") < names.index("coco")
    assert "xnli" in Catalogue.builtin() and "xnlii" not in Catalogue.builtin()


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown task 'xnlii'. Did you mean 'xnli'"):
        Catalogue.builtin().task("xnlii")


def test_two_catalogues_have_cards_of_one_name_and_none_changes_another(tmp_path: Path) -> None:
    plain = Catalogue.builtin()
    first = plain.with_files([card_file(tmp_path / "a", "first")])
    second = plain.with_files([card_file(tmp_path / "b", "second")])
    assert (first.task("mine").title, second.task("mine").title) == ("first", "second")
    assert "mine" not in plain and len(first) == len(plain) + 1
    assert first.files == ((tmp_path / "a" / "card.py").resolve(),)
    with pytest.raises(UsageError, match=r"the name 'mine' is taken by .*a/card.py"):
        first.with_files([tmp_path / "b" / "card.py"])


def test_a_file_may_be_given_again_after_a_change(tmp_path: Path) -> None:
    path = card_file(tmp_path, "old")
    known = Catalogue.builtin().with_files([path])
    card_file(tmp_path, "new")
    assert (known.with_files([path, path]).task("mine").title, known.task("mine").title) == ("new", "old")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "xnli"}, "the name 'xnli' is taken by Viaduct's own cards"),
        ({"kind": "pairs"}, "unknown kind of rows 'pairs'. Did you mean 'pair'"),
        ({"text": '" + 1 + "'}, "card.py, line [0-9]+: TypeError"),
        ({"text": '" + exit(0) + "'}, "card.py, line [0-9]+: SystemExit: 0"),
    ],
)
def test_a_wrong_card_is_one_message(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Catalogue.builtin().with_files([card_file(tmp_path, **changes)])


def test_a_reader_that_ends_the_program_is_one_message(tmp_path: Path) -> None:
    path = card_file(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("    yield", "    exit(0)\n    yield"), encoding="utf-8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "test").touch()
    with pytest.raises(UsageError, match=r"the reader of the card mine ends the program, by sys.exit\(0\)"):
        read(Catalogue.builtin().with_files([path]).task("mine"), tmp_path, "en", "test")


def test_what_is_no_card_file_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "card.json"
    other.write_text("{}", encoding="utf-8")
    empty = tmp_path / "empty.py"
    empty.write_text("", encoding="utf-8")
    for path, message in (
        (tmp_path / "absent.py", "there is no card file"),
        (other, r"is not a card file\n.*ends in .py, .toml"),
        (empty, "the file has no CARD"),
    ):
        with pytest.raises(UsageError, match=message):
            Catalogue.builtin().with_files([path])
