"""Tasks with a single text: labels and numbers, from a user's own files to a report."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

from viaduct.cli import app
from viaduct.models.encoder import save_encoder
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder
from viaduct.texts.rows import Labelled, Rated

TOPICS = """
name = "topics"
kind = "classification"
path = "topics/{split}.{language}.tsv"
languages = ["en", "de"]
metric = "macro_f1"
[columns]
text = "utterance"
label = "topic"
[labels]
order = ["one", "two", "three"]
"""
STARS = """
name = "stars"
kind = "regression"
path = "stars/{split}.{language}.jsonl"
languages = ["en", "de"]
[columns]
first = "review"
value = "stars"
"""
RECIPE = """
name: own
hypothesis: A word tells the topic and the stars.
encoder: my-encoder
cards: [topics.toml, stars.toml]
intermediates: [{name: none}]
targets:
  - {task: topics, training: {learning_rate: 0.01, epochs: 30, batch_tokens: 400}}
  - {task: stars, training: {learning_rate: 0.01, epochs: 30, batch_tokens: 400}}
measure: null
"""
WORDS = tiny.LANGUAGES["en"][:6]


def examples(place: str, count: int):
    """(text, topic, stars): the first word, given twice, determines both; the others say nothing about them."""
    drawn = random.Random(place)
    for number in range(count):
        word = number % 6
        rest = " ".join(drawn.choices(tiny.LANGUAGES["en"][6:], k=5))
        yield f"{WORDS[word]} {WORDS[word]} {rest}", ("one", "two", "three")[word // 2], word - 2.5


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    words = tiny.tokenizer()
    save_encoder(tiny.encoder(words), words, tmp_path / "my-encoder")
    for name, text in (("topics.toml", TOPICS), ("stars.toml", STARS), ("own.yaml", RECIPE)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    for place, count in {"train.en": 120, "dev.en": 24, "test.en": 24, "test.de": 24}.items():
        rows = list(examples(place, count))
        for folder in ("topics", "stars"):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        table = "".join(f"{text}\t{topic}\n" for text, topic, _ in rows)
        (tmp_path / "data/topics" / f"{place}.tsv").write_text(f"utterance\ttopic\n{table}", encoding="utf-8")
        lines = "".join(json.dumps({"review": text, "stars": stars}) + "\n" for text, _, stars in rows)
        (tmp_path / "data/stars" / f"{place}.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_own_topics_and_stars_are_learned_and_reported(own: Path) -> None:
    command = ["run", "own.yaml", "--data", "data", "--store", "store", "--threads", "1"]
    ran = CliRunner().invoke(app, command, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    lines = (own / "store/runs/own/rows.jsonl").read_text(encoding="utf-8").splitlines()
    found = {(row["task"], row["metric"], row["language"]): row["value"] for row in map(json.loads, lines)}
    assert {task_metric[:2] for task_metric in found} == {
        ("topics", "macro_f1"), ("topics", "accuracy"), ("stars", "spearman"), ("stars", "pearson"),
    }  # fmt: skip
    assert found["topics", "macro_f1", "de"] > 0.8 and found["stars", "spearman", "de"] > 0.8
    said = own / "store/my-encoder/none/stars/seed-1/predict/predictions/de.jsonl"
    numbers = [json.loads(line)["prediction"] for line in said.read_text(encoding="utf-8").splitlines()]
    assert all(isinstance(one, float) for one in numbers) and -4 < min(numbers) < -1 < 1 < max(numbers) < 4
    checked = CliRunner().invoke(app, ["check", "topics.toml", "--data", "data"])
    assert checked.exit_code == 0 and "one 33%" in checked.output


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("topics/test.de.tsv", "who knows\tfour\n", "line 26: column 'topic': unknown label 'four'"),
        ("topics/test.de.tsv", "\tone\n", "line 26: column 'utterance': the text is blank"),
        (
            "stars/test.de.jsonl",
            '{"review": "so so", "stars": "many"}\n',
            "line 25: column 'stars': 'many' .* a number",
        ),
        ("stars/test.de.jsonl", '{"review": "so so", "stars": true}\n', "line 25: column 'stars': 'True' .* a number"),
        ("stars/test.de.jsonl", '{"review": "so so", "stars": NaN}\n', "line 25"),
    ],
)
def test_a_wrong_value_is_named(own: Path, file: str, line: str, words: str) -> None:
    with (own / "data" / file).open("a", encoding="utf-8") as end:
        end.write(line)
    name = file.partition("/")[0]
    checked = CliRunner().invoke(app, ["check", f"{name}.toml", "--data", "data"])
    assert checked.exit_code != 0
    assert re.search(words, " ".join(checked.output.split())), checked.output


def test_numbers_between_two_texts_need_a_second_column(own: Path) -> None:
    (own / "alike.toml").write_text(
        STARS.replace('"stars"', '"alike"', 1).replace('first = "review"', 'first = "review"\nsecond = "again"'),
        encoding="utf-8",
    )
    path = own / "data/stars/test.de.jsonl"
    path.write_text('{"review": "a", "again": "b", "stars": 0.5}\n', encoding="utf-8")
    card = Catalogue.builtin().with_files([own / "alike.toml"])
    (row,) = DataFolder(own / "data", card).read("alike", "test", "de").rows
    assert row == Rated("0", "de", "a", "b", 0.5) and row.texts == ("a", "b")


def test_sib200_is_read_as_published(tmp_path: Path) -> None:
    folder = tmp_path / "sib-200/data/annotated/zho_Hans"
    folder.mkdir(parents=True)
    text = 'index_id\tcategory\ttext\n7\tscience/technology\t"A ""quoted"" word, here."\n9\ttravel\tGo there.\n'
    (folder / "test.tsv").write_text(text, encoding="utf-8")
    found = DataFolder(tmp_path, Catalogue.builtin()).read("sib200", "test", "zh")
    assert list(found.rows) == [
        Labelled("7", "zh", 'A "quoted" word, here.', "science/technology"),
        Labelled("9", "zh", "Go there.", "travel"),
    ]
