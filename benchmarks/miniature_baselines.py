"""Baselines that learn nothing about order: the scores on the miniature tasks that need no understanding.

A model that is not clearly better has learned nothing. `python benchmarks/miniature_baselines.py FOLDER` writes the
table of docs/miniature.md for the world in that folder. Pure Python; predictions are scored by the cards' own metrics.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

from viaduct.errors import UsageError
from viaduct.metrics.score import Prediction
from viaduct.miniature.lexicon import OF_TASK
from viaduct.rows import Pair, Row, Sentence, Span, Tagged
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue

Baseline = Callable[[Sequence[Row], Sequence[Row]], dict[str, Any]]
"""(English training rows, test rows) -> row id -> prediction."""

_BINS = 20
_WORD = re.compile(r"[一-鿿぀-ヿ]|\w+")
_STATEMENT = re.compile(r"[^.;。；؛]+")
_TRIGRAM = 3
_SHOWN = ("accuracy", "f1", "exact_match")

RowType = TypeVar("RowType", Pair, Tagged, Span, Sentence)


def _only(rows: Iterable[Row], kind: type[RowType]) -> list[RowType]:
    return [row for row in rows if isinstance(row, kind)]


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; Chinese and Japanese characters one by one."""
    return _WORD.findall(text.lower())


def overlap(first: str, second: str) -> float:
    """The share of words that two texts have in common: multiset intersection over union, 1 for two empty texts."""
    ours, theirs = Counter(words_of(first)), Counter(words_of(second))
    union = (ours | theirs).total()
    return (ours & theirs).total() / union if union else 1.0


def majority(train: Sequence[Row], test: Sequence[Row]) -> dict[str, Any]:
    """The most frequent label of the training pairs, for every pair; ties go to the alphabetically first label."""
    label = _most_frequent(Counter(row.label for row in _only(train, Pair) if row.label is not None))
    return {row.id: label for row in test}


def word_overlap(train: Sequence[Row], test: Sequence[Row]) -> dict[str, Any]:
    """For each pair, the most frequent label of the training pairs with about the same word overlap (20 bins)."""
    labels: dict[int, Counter[str]] = defaultdict(Counter)
    for row in _only(train, Pair):
        if row.label is not None:
            labels[_bin(row)][row.label] += 1
    usual = _most_frequent(sum(labels.values(), Counter()))
    best = {place: _most_frequent(counts) for place, counts in labels.items()}
    return {row.id: best.get(_bin(row), usual) for row in _only(test, Pair)}


def _bin(row: Pair) -> int:
    return int(overlap(row.first, row.second) * _BINS)


def _most_frequent(counts: Counter[str]) -> str:
    return min(counts, key=lambda label: (-counts[label], label))


def usual_tag(train: Sequence[Row], test: Sequence[Row]) -> dict[str, Any]:
    """The most frequent tag of the training tokens, for every token."""
    tag = _most_frequent(Counter(tag for row in _only(train, Tagged) for tag in row.tags or ()))
    return {row.id: [tag] * len(row.tokens) for row in _only(test, Tagged)}


def usual_tag_of_word(train: Sequence[Row], test: Sequence[Row]) -> dict[str, Any]:
    """Each token's most frequent tag in training; unseen tokens get the most frequent tag overall."""
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    for row in _only(train, Tagged):
        for token, tag in zip(row.tokens, row.tags or (), strict=True):
            tags[token][tag] += 1
    usual = _most_frequent(sum(tags.values(), Counter()))
    best = {token: _most_frequent(counts) for token, counts in tags.items()}
    return {row.id: [best.get(token, usual) for token in row.tokens] for row in _only(test, Tagged)}


def first_statement(train: Sequence[Row], test: Sequence[Row]) -> dict[str, Any]:
    """The first statement of each passage."""
    return {row.id: _statements(row)[0] for row in _only(test, Span)}


def asked_statement(train: Sequence[Row], test: Sequence[Row]) -> dict[str, Any]:
    """The statement of the passage that shares the most words with the question."""
    return {
        row.id: max(_statements(row), key=lambda statement, row=row: _shared(statement, row.question))  # type: ignore[misc]
        for row in _only(test, Span)
    }


def _statements(row: Span) -> list[str]:
    return [statement.strip() for statement in _STATEMENT.findall(row.context)]


def _shared(statement: str, question: str) -> int:
    return (Counter(words_of(statement)) & Counter(words_of(question))).total()


def same_letters(train: Sequence[Row], test: Sequence[Row]) -> dict[str, Any]:
    """For each sentence, the other language's sentence with the most similar set of letter trigrams.

    In mining, for each sentence of the other language, the English one, if each is the other's best.
    """
    source = {row.id: _trigrams(row.text) for row in _only(test, Sentence) if row.side == "source"}
    target = {row.id: _trigrams(row.text) for row in _only(test, Sentence) if row.side == "target"}
    choice = {query: _closest(grams, source) for query, grams in target.items()}
    back = {query: _closest(grams, target) for query, grams in source.items()}
    if all(row.match for row in _only(test, Sentence)):
        return {**choice, **back}
    return {ours: theirs for ours, theirs in back.items() if choice[theirs] == ours}


def _trigrams(text: str) -> frozenset[str]:
    return frozenset(text[place : place + _TRIGRAM].lower() for place in range(max(1, len(text) - _TRIGRAM + 1)))


def _closest(grams: frozenset[str], candidates: Mapping[str, frozenset[str]]) -> str:
    return max(candidates, key=lambda name: len(grams & candidates[name]) / len(grams | candidates[name]))


BASELINES: dict[str, tuple[Baseline, ...]] = {
    "xnli": (majority, word_overlap),
    "pawsx": (majority, word_overlap),
    "udpos": (usual_tag, usual_tag_of_word),
    "panx": (usual_tag, usual_tag_of_word),
    "xquad": (first_statement, asked_statement),
    "mlqa": (first_statement, asked_statement),
    "tydiqa": (first_statement, asked_statement),
    "bucc": (same_letters,),
    "tatoeba": (same_letters,),
}
"""Task -> baselines that do not understand it."""


def scores(data: Path, task: str, baseline: Baseline) -> dict[str, tuple[float, ...]]:
    """Language -> the baseline's test scores in the order of the card's `metrics`, as fractions.

    Raises DataError if the world's files are not in `data`.
    """
    cards = Catalogue.builtin()
    card = cards.task(task)
    train = read(cards.task(card.trained_on), data, "en", "train").rows if card.trained_on else ()
    found = {}
    for language in OF_TASK[task]:
        test = read(card, data, language, "test").rows
        made = baseline(train, test)
        predictions = {name: Prediction(name, language, value) for name, value in made.items()}
        if card.metric is None:
            raise UsageError(f"{task} has no metric, so a baseline cannot be scored")
        by_name = {score.metric: score.value for score in card.metric(test, predictions)}
        found[language] = tuple(by_name[name] for name in card.metrics)
    return found


def table(data: Path) -> str:
    """All baselines on all tasks as a Markdown table: the main scores in English, and averaged over other languages."""
    lines = ["| task | score | baseline | English | other languages |", "|---|---|---|---|---|"]
    for task, baselines in BASELINES.items():
        for baseline in baselines:
            found = scores(data, task, baseline)
            names = [name for name in Catalogue.builtin().task(task).metrics if name in _SHOWN]
            english = [found["en"]] if "en" in found else []
            others = [values for language, values in found.items() if language != "en"]
            cells = (_means(group, len(names)) for group in (english, others))
            title = baseline.__name__.replace("_", " ")
            lines.append(f"| {task} | {' / '.join(names)} | {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _means(groups: Sequence[tuple[float, ...]], count: int) -> str:
    """The means of the first `count` scores over languages, in percent."""
    return " / ".join(f"{100 * mean(column):.1f}" for column in list(zip(*groups, strict=True))[:count]) or "–"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/miniature_baselines.py FOLDER")
    sys.stdout.write(table(Path(sys.argv[1])))
