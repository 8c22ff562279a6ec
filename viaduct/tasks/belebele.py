"""Belebele: four answers to a question about a FLORES-200 passage, in 122 languages and scripts; trained on RACE.

A line of data/hau_Latn.jsonl (other fields are ignored):
    {"link": "https://...", "question_number": 1, "flores_passage": "Ruwan yana tafasa.", "question": "Me ke tafasa?",
     "mc_answer1": "Ruwa", "mc_answer2": "Shayi", "mc_answer3": "Madara", "mc_answer4": "Miya",
     "correct_answer_num": "1", ...}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from viaduct.errors import DataError, shortened
from viaduct.languages import flores_code
from viaduct.metrics.classification import accuracy
from viaduct.rows import Choice
from viaduct.tasks.card import Files, Hub, Task, sources
from viaduct.tasks.formats import json_lines, parquet
from viaduct.tasks.published import counts

_LANGUAGES = """
acm af am apc ar ar-Latn ars ary arz as az bg bm bn bn-Latn bo ca ceb ckb cs da de el en es et eu fa fi fr
fuv gn gu ha he hi hi-Latn hr ht hu hy id ig ilo is it ja jv ka kac kea kk km kn ko ky lg ln lo lt luo lv mg
mi mk ml mn mr ms mt my nb ne ne-Latn nl nso ny om or pa pbt pl pt ro ru rw sd shn si si-Latn sk sl sn so sq
sr ss st su sv sw ta te tg th ti tl tn tr ts uk ur ur-Latn uz vi war wo xh yo zh zh-Hant zu
"""
LANGUAGES = tuple(_LANGUAGES.split())
CODES = {code: flores_code(code) for code in LANGUAGES}
"""Our language code -> FLORES-200's, used in the file names."""

_FIELDS = ("link", "question_number", "flores_passage", "question", *(f"mc_answer{number}" for number in (1, 2, 3, 4)))


def read(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The questions of a file; ids combine link and question number, which all translations share."""
    path, seen = files["rows"][0], Counter[str]()
    for line, (link, number, passage, question, *answers, right) in json_lines(path, (*_FIELDS, "correct_answer_num")):
        name = f"{link}-{number}"
        seen[name] += 1
        again = f"-{seen[name]}" if seen[name] > 1 else ""
        yield Choice(name + again, language, passage, question, tuple(answers), _index(right, "1234", path, line))


def read_race(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The questions of RACE, middle and high school together; ids are row numbers, counted from 0."""
    path = files["rows"][0]
    records = parquet(files["rows"], ("article", "question", "options", "answer"))
    for row, (article, question, options, answer) in enumerate(records):
        if not isinstance(options, list) or len(options) != 4:
            raise DataError(f"row {row}: 'options' is not a list of 4 texts", path=path)
        yield Choice(str(row), language, article, question, tuple(options), _index(answer, "ABCD", path, None))


def _index(given: object, marks: str, path: Path, line: int | None) -> int:
    if (mark := str(given)) not in tuple(marks):
        raise DataError(
            f"unknown answer '{shortened(mark)}'", path=path, line=line, fix=f"use one of {' '.join(marks)}"
        )
    return marks.index(mark)


CARD = Task(
    name="belebele",
    title="Belebele",
    kind="choice",
    languages=LANGUAGES,
    sources=(
        *sources("official", read, "Belebele/{language}.jsonl", splits="test", languages=CODES),
        *sources(
            Hub("facebook/belebele", "75b399394a9803252cfec289d103de462763db7c"),
            read,
            "data/{language}.jsonl",
            splits="test",
            languages=CODES,
        ),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="race",
    expected=counts(LANGUAGES, test=900),
    licence="CC BY-SA 4.0",
    citation="Bandarkar et al. 2024: The Belebele Benchmark: a Parallel Reading Comprehension Dataset in 122 Language "
    "Variants (arXiv 2308.16884)",
    differs=(
        "Trained on RACE, more than half of the 67,500 questions that the paper trains on; its script joins them with "
        "five smaller sets, which no Hub dataset holds. Counts: the README of facebookresearch/belebele at 08633e8. "
        "Revision of the Hub dataset: as pinned by mteb (BelebeleRetrieval)."
    ),
)

RACE = Task(
    name="race",
    title="RACE, English examinations",
    kind="choice",
    languages=("en",),
    sources=sources(Hub("ehovy/race", "2fec9fd81f1dc971569a9b729c43f2f0e6436637"), read_race, "all/{split}-*.parquet"),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="race",
    expected=counts(("en",), train=87_866, dev=4_887, test=4_934),
    licence="for non-commercial research only",
    citation="Lai et al. 2017: RACE: Large-scale ReAding Comprehension Dataset From Examinations (arXiv 1704.04683)",
    differs="Revision of the Hub dataset: as pinned in several public evaluations, which read the same files there.",
)
