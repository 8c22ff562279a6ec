"""Test-only readers for the file formats of an XTREME submission: lines, tag blocks, answers, pairs."""

from __future__ import annotations

import json
from pathlib import Path

from viaduct.metrics.score import Prediction, Predictions
from viaduct.rows import Answer, Pair, Row, Sentence, Span, Tagged


def lines(path: Path) -> list[str]:
    """Stripped lines, whatever the line endings."""
    return [line.strip() for line in path.read_text(encoding="utf-8").strip().split("\n")]


def blocks(path: Path) -> list[tuple[str, ...]]:
    """Tags of each sentence; blank lines separate sentences."""
    found: list[list[str]] = [[]]
    for line in lines(path):
        if line:
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [tuple(block) for block in found if block]


def keyed(values: dict[str, object], language: str) -> Predictions:
    """Predictions with these values, by id."""
    return {row_id: Prediction(row_id, language, value) for row_id, value in values.items()}


def questions(path: Path, language: str) -> list[Row]:
    """The questions of a file in SQuAD's JSON shape."""
    return [
        Span(
            question["id"],
            language,
            paragraph["context"],
            question["question"],
            tuple(Answer(answer["text"], answer["answer_start"]) for answer in question["answers"]),
        )
        for article in json.loads(path.read_text(encoding="utf-8-sig"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def read(folder: Path, task: str, language: str) -> tuple[list[Row], Predictions]:
    """Gold rows and predictions of one task and language of the official example submission."""
    suffix = "json" if task in ("xquad", "mlqa", "tydiqa") else "tsv"
    gold, given = (folder / kind / task / f"test-{language}.{suffix}" for kind in ("labels", "predictions"))
    if suffix == "json":
        rows = questions(gold, language)
        known = {row.id for row in rows}
        answers = json.loads(given.read_text(encoding="utf-8-sig"))
        return rows, keyed({row_id: text for row_id, text in answers.items() if row_id in known}, language)
    if task in ("udpos", "panx"):
        tags, predicted = blocks(gold), blocks(given)
        assert len(tags) == len(predicted)
        rows = [Tagged(str(place), language, tuple("x" * len(row)), row) for place, row in enumerate(tags)]
        return rows, keyed({str(place): list(row) for place, row in enumerate(predicted)}, language)
    if task == "bucc2018":
        return _mining(lines(gold), lines(given), language)
    if task == "tatoeba":
        return _retrieval(lines(gold), lines(given), language)
    rows = [Pair(str(place), language, "", "", label) for place, label in enumerate(lines(gold))]
    return rows, keyed({str(place): label for place, label in enumerate(lines(given))}, language)


def _mining(gold: list[str], given: list[str], language: str) -> tuple[list[Row], Predictions]:
    match: dict[str, tuple[str, ...]] = {}
    found: dict[str, list[str]] = {}
    for pair in gold:
        source, target = pair.split("\t")
        match[source] = (*match.get(source, ()), target)
    for pair in given:
        source, _, target = pair.partition("\t")  # the official scorer counts a blank line as one wrong pair
        found.setdefault(source, []).append(target)
    sources = [Sentence(row_id, language, "", "source", match.get(row_id, ())) for row_id in {**match, **found}]
    return sources, keyed(dict(found), language)


def _retrieval(gold: list[str], given: list[str], language: str) -> tuple[list[Row], Predictions]:
    queries = [Sentence(f"en{place}", language, "", "target", (index,)) for place, index in enumerate(gold)]
    sources = [Sentence(index, language, "", "source", ()) for index in sorted(set(gold))]
    return [*queries, *sources], keyed({f"en{place}": index for place, index in enumerate(given)}, language)
